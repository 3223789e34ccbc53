"""Dialogues of every kind of request from the stand-in: what was asked for is there, and replays."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest
import yaml

from core.dialogue import NOTHING_HAPPENS, Dialogue, RequestKind
from core.messages import AssistantMessage, UserMessage
from generation.run import domains as domains_of
from generation.scripted.llm import ScriptedLLM
from generation.seeds.base import Seed
from generation.stages import Tools
from generation.tasks.mentions import states
from generation.toolset_runner import run_toolset_stages, source_from_seed
from tests.generation.helpers.pipeline_runs import ROWS_PER_TABLE, FinishedRun, run_to_end
from tests.helpers.paths import CONF

EVERY_KIND = {kind: 1.0 for kind in get_args(RequestKind) if kind not in ("plain", "forbidden")}
"""Forbidden requests need a policy."""
OR_PLAIN = EVERY_KIND | {"plain": 0.0}
"""A request that cannot be written becomes a plain one."""


@pytest.fixture(scope="module")
def mixed(seeds: Sequence[Seed], tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    folder: Path = tmp_path_factory.mktemp("mixed")
    stages = [Tools(max_tools=24, batch=5, attempts=3, questions=0, expansion=0)]
    toolset_sources = [source_from_seed(seed) for seed in seeds]
    path = folder / "toolsets.jsonl"
    toolsets = asyncio.run(run_toolset_stages(toolset_sources, stages, ScriptedLLM(), path, 4, lambda toolset: None))
    domains = domains_of(toolsets, ROWS_PER_TABLE, seed=0)
    return run_to_end("user_oriented_exec", domains, folder / "run", n=90, kinds=OR_PLAIN, count={1: 0.5, 2: 0.5})


def test_the_shipped_mix_names_every_kind() -> None:
    for name in ("plain", "mix"):
        shipped = yaml.safe_load((CONF / "requests" / f"{name}.yaml").read_text())
        assert set(shipped["kinds"]) == set(get_args(RequestKind))


def test_every_kind_is_there_and_accepted(mixed: FinishedRun) -> None:
    kinds = Counter(task.kind for dialogue in mixed.accepted for task in dialogue.tasks)
    assert set(EVERY_KIND) <= set(kinds), kinds
    assert len(mixed.accepted) >= 80, [rejection.reasons for rejection in mixed.rejected]
    asked = Counter(r.kind for d in mixed.accepted for r in d.provenance.writer_requests.values())
    assert set(asked) <= set(EVERY_KIND)


def test_nothing_happens_where_nothing_must(mixed: FinishedRun) -> None:
    for dialogue in mixed.accepted:
        if all(task.kind in NOTHING_HAPPENS for task in dialogue.tasks):
            assert dialogue.state
            assert dialogue.state.diff == ()


def test_withheld_values_come_late_and_withdrawn_ones_never(mixed: FinishedRun) -> None:
    for dialogue, number in _tasks(mixed, "incomplete", "ambiguous", "withdrawn"):
        task, part = dialogue.tasks[number], dialogue.part(number)
        said = [message.content for message in part if isinstance(message, UserMessage)]
        assert not any(states(said[0], value) for value in task.withheld)
        later = any(states(text, value) for text in said[1:] for value in task.withheld)
        assert later is (task.kind != "withdrawn")


def test_late_tools_are_offered_after_the_assistant_has_missed_them(mixed: FinishedRun) -> None:
    late = list(_tasks(mixed, "late_tool"))
    assert late
    for dialogue, number in late:
        for tool in dialogue.tasks[number].late_tools:
            start = dialogue.late_tools[tool]
            assert isinstance(dialogue.messages[start], UserMessage)
            assert isinstance(dialogue.messages[start - 1], AssistantMessage)
            assert start > dialogue.task_starts[number]
    for dialogue, number in _tasks(mixed, "no_tool"):
        offered = {tool.name for tool in dialogue.tools_at(dialogue.task_starts[number])}
        assert not offered & set(dialogue.tasks[number].late_tools)


def _tasks(run: FinishedRun, *kinds: str) -> list[tuple[Dialogue, int]]:
    return [
        (dialogue, number)
        for dialogue in run.accepted
        for number, task in enumerate(dialogue.tasks)
        if task.kind in kinds
    ]
