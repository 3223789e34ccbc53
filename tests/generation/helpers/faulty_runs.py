"""Pipelines with faults on demand, τ²'s among them, run in-process."""

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
from tests.generation.helpers.pipeline_runs import Played, Recorder, pipeline_of, run_local

TAU2 = "user_oriented_tau2"
EXECUTED = ("user_oriented_exec", TAU2)
PIPELINES = ("task_oriented", "user_oriented", *EXECUTED)


@cache
def tau2_subjects() -> tuple[DomainTools, ...]:
    return domains_of([source_from_seed(seed).toolset for seed in Tau2Seeds().load()], 40, seed=0)


def play_with_faults(
    name: str,
    domains: tuple[DomainTools, ...],
    directory: Path,
    n: int,
    llm: LLM | None = None,
    tools: Mapping[str, float] | None = None,
    **more: Any,
) -> Played:
    """`rollouts.play` on the pipeline's own subjects; `tools` are the shares of faults in its environment. τ²'s dialogues have one
    task: its further ones take the stand-in long to write."""
    concurrency, seed = more.pop("concurrency", 8), more.get("seed", 0)
    recorder = Recorder(llm or ScriptedLLM(seed=seed))
    more |= {"count": {1: 1.0}} if name == TAU2 else {}
    pipeline = pipeline_of(name, tau2_subjects() if name == TAU2 else domains, recorder, **more)
    if name == TAU2:
        pipeline = replace(pipeline, environments=Tau2EnvironmentFactory())
    if tools:
        pipeline = replace(pipeline, environments=FaultyEnvironmentFactory(pipeline.environments, tools, seed))
    try:
        statistics = asyncio.run(run_local(pipeline, directory, n, concurrency))
    finally:
        pipeline.environments.close()
    return Played(pipeline, directory, statistics, recorder.log)


def struck(played: Played) -> Counter[str]:
    """Faults by kind, whoever they befell."""
    found: Counter[str] = Counter()
    for name, count in played.statistics.flaws.items():
        _, injected, kind = name.partition("/injected_")
        if injected:
            found[kind] += count
    return found


def adds_up(played: Played, n: int) -> bool:
    """Nothing is lost and nothing is a fault of ours."""
    figures = played.statistics
    ours = [reason for reason in figures.reasons if reason.startswith("internal")]
    return figures.started == n == figures.accepted + figures.rejected + figures.failed and not ours
