"""The domains' environments, opened once per module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from generation.environments.base import DomainEnvironment
from generation.environments.sql import SqlEnvironmentFactory
from generation.llm.meter import Meter
from generation.pipeline import DomainTools
from generation.scripted.llm import ScriptedLLM


@pytest.fixture(scope="module")
def environments(domains: tuple[DomainTools, ...]) -> Iterator[dict[str, DomainEnvironment]]:
    open_environments = SqlEnvironmentFactory()
    yield {s.domain.name: open_environments.for_domain(s.toolset, Meter(ScriptedLLM()), "x") for s in domains}
    open_environments.close()
