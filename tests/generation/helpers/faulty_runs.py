"""Runs pipelines in-process with injected faults, τ²'s pipeline included."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from generation.environments.faulty import FaultyEnvironmentFactory
from generation.environments.tau2 import Tau2EnvironmentFactory
from generation.llm.base import LLM
from generation.pipeline import DomainTools
from generation.run import domains as domains_of
from generation.scripted.llm import ScriptedLLM
from generation.seeds.tau2 import Tau2Seeds
from generation.toolset_runner import source_from_seed
from tests.generation.helpers.pipeline_runs import FinishedRun, Recorder, pipeline_of, run_local

TAU2 = "user_oriented_tau2"
EXECUTED = ("user_oriented_exec", TAU2)
PIPELINES = ("task_oriented", "user_oriented", *EXECUTED)


@cache
def tau2_domains() -> tuple[DomainTools, ...]:
    return domains_of([source_from_seed(seed).toolset for seed in Tau2Seeds().load()], 40, seed=0)


def run_with_faults(
    name: str,
    domains: tuple[DomainTools, ...],
    directory: Path,
    n: int,
    llm: LLM | None = None,
    tools: Mapping[str, float] | None = None,
    **more: Any,
) -> FinishedRun:
    """`run_to_end` on the pipeline's own domains; `tools` are the shares of faults in its environment. τ²'s dialogues
    have one task, since the stand-in takes long to write further ones."""
    concurrency, seed = more.pop("concurrency", 8), more.get("seed", 0)
    recorder = Recorder(llm or ScriptedLLM(seed=seed))
    more |= {"count": {1: 1.0}} if name == TAU2 else {}
    pipeline = pipeline_of(name, tau2_domains() if name == TAU2 else domains, recorder, **more)
    if name == TAU2:
        pipeline = replace(pipeline, environments=Tau2EnvironmentFactory())
    if tools:
        pipeline = replace(pipeline, environments=FaultyEnvironmentFactory(pipeline.environments, tools, seed))
    try:
        statistics = asyncio.run(run_local(pipeline, directory, n, concurrency))
    finally:
        pipeline.environments.close()
    return FinishedRun(pipeline, directory, statistics, recorder.log)


def injected_faults(played: FinishedRun) -> Counter[str]:
    """Injected faults by kind, in all roles."""
    faults: Counter[str] = Counter()
    for name, count in played.statistics.flaws.items():
        _, injected, kind = name.partition("/injected_")
        if injected:
            faults[kind] += count
    return faults


def adds_up(played: FinishedRun, n: int) -> bool:
    """Whether every dialogue has an outcome, and none an internal error."""
    statistics = played.statistics
    internal = [reason for reason in statistics.reasons if reason.startswith("internal")]
    return statistics.started == n == statistics.accepted + statistics.rejected + statistics.failed and not internal
