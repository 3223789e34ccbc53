"""Environments with faults on demand, opened for one domain."""

from __future__ import annotations

from generation.environments.faulty import FaultyDomainEnvironment, FaultyEnvironmentFactory
from generation.environments.sql import SqlEnvironmentFactory
from generation.llm.meter import Meter
from generation.scripted.llm import ScriptedLLM
from generation.tools.toolset import Toolset


def domain_environment(
    sql: SqlEnvironmentFactory, toolset: Toolset, seed: int = 0, **shares: float
) -> FaultyDomainEnvironment:
    return FaultyEnvironmentFactory(sql, shares, seed).for_domain(toolset, Meter(ScriptedLLM()), "d")
