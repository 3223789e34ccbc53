"""The bundled support desks, and runs of user_oriented_dual on them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from generation.llm.base import LLM
from generation.pipeline import DomainTools
from generation.run import domains
from generation.scripted.llm import ScriptedLLM
from generation.seeds.support_desk import SupportDeskSeeds
from generation.stages import Tools
from generation.toolset_runner import run_toolset_stages, source_from_seed
from tests.generation.helpers.pipeline_runs import FinishedRun, run_to_end

ROWS_PER_TABLE = 40


def support_desks(folder: Path) -> tuple[DomainTools, ...]:
    sources = [source_from_seed(seed) for seed in SupportDeskSeeds(folder).load()]
    stages = [Tools(max_tools=4, batch=4, attempts=1, questions=0, expansion=0)]
    toolsets = asyncio.run(
        run_toolset_stages(sources, stages, ScriptedLLM(), folder / "toolsets.jsonl", 2, lambda toolset: None)
    )
    return domains(toolsets, ROWS_PER_TABLE, seed=0)


def play(desks: tuple[DomainTools, ...], folder: Path, llm: LLM | None = None, n: int = 8, **more: Any) -> FinishedRun:
    """A run of guided tasks alone, by default with the stand-in without mistakes."""
    llm = llm or ScriptedLLM(error_rate=0.0)
    return run_to_end("user_oriented_dual", desks, folder, n, llm, kinds={"guided": 1.0}, **more)
