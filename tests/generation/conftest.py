"""Three small bundled domains with their toolsets, and runs of the shipped pipelines on them; built once per
session."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from generation.pipeline import DomainTools
from generation.run import domains as domains_of
from generation.scripted.llm import ScriptedLLM
from generation.seeds.base import Seed
from generation.seeds.bundled import BundledSeeds
from generation.stages import Tools
from generation.tools.toolset import Toolset
from generation.toolset_runner import run_toolset_stages, source_from_seed
from tests.generation.helpers.pipeline_runs import ROWS_PER_TABLE, FinishedRun, run_to_end


@pytest.fixture(scope="session")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Seed]:
    return BundledSeeds(tmp_path_factory.mktemp("seeds"), ["clinic", "gym", "library"]).load()


@pytest.fixture(scope="session")
def toolsets(seeds: Sequence[Seed], tmp_path_factory: pytest.TempPathFactory) -> list[Toolset]:
    path = tmp_path_factory.mktemp("toolsets") / "toolsets.jsonl"
    stages = [Tools(max_tools=10, batch=5, attempts=3, questions=0, expansion=0)]
    toolset_sources = [source_from_seed(seed) for seed in seeds]
    return asyncio.run(run_toolset_stages(toolset_sources, stages, ScriptedLLM(), path, 4, lambda toolset: None))


@pytest.fixture(scope="session")
def domains(toolsets: list[Toolset]) -> tuple[DomainTools, ...]:
    return domains_of(toolsets, ROWS_PER_TABLE, seed=0)


@pytest.fixture(scope="session")
def executed(domains: tuple[DomainTools, ...], tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Thirty dialogues of user_oriented_exec, with every request to the model."""
    return run_to_end("user_oriented_exec", domains, tmp_path_factory.mktemp("executed"), n=30)


@pytest.fixture(scope="session")
def simulated(domains: tuple[DomainTools, ...], tmp_path_factory: pytest.TempPathFactory) -> dict[str, FinishedRun]:
    """Thirty dialogues of each pipeline with simulated tools."""
    return {
        name: run_to_end(name, domains, tmp_path_factory.mktemp(name), n=30)
        for name in ("task_oriented", "user_oriented")
    }


@pytest.fixture
def database(seeds: Sequence[Seed]) -> Path:
    """The gym's database file."""
    return next(seed.database for seed in seeds if seed.name == "gym" and seed.database)
