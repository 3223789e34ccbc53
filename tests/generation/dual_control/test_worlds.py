"""Guided tasks outside the run that made them: in exported worlds and as preference pairs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from core.dialogue import Dialogue
from core.journal import read_jsonl, write_jsonl
from generation.export.preferences import Pair, write_preferences
from generation.export.tasks import GenerationRun, write_worlds
from generation.llm.base import LLM
from generation.pipeline import DomainTools
from generation.scripted.llm import ScriptedLLM
from generation.worlds.worlds import Worlds
from tests.generation.helpers.pipeline_runs import (
    FinishedRun,
    SpoiledRole,
    fixed_answer,
    rollout_settings,
    user_settings,
)

PIPELINE = "user_oriented_dual"


@pytest.fixture(scope="module")
def run(desks: tuple[DomainTools, ...], tmp_path_factory: pytest.TempPathFactory) -> GenerationRun:
    folder = tmp_path_factory.mktemp("run")
    write_jsonl(folder / "toolsets.jsonl", [desk.toolset for desk in desks])
    environment = {"_target_": "generation.environments.sql.SqlEnvironmentFactory"}
    pipeline = {"environment": environment, "rollout": rollout_settings(PIPELINE).model_dump()}
    return GenerationRun(folder, {"pipelines": {PIPELINE: pipeline}, "user": user_settings().model_dump()})


def some(played: FinishedRun) -> list[Dialogue]:
    dialogues = played.accepted[:4]
    assert any(len(dialogue.tasks) > 1 for dialogue in dialogues), "a later task starts after actions of the user"
    return dialogues


@pytest.mark.parametrize("solves", [True, False])
def test_an_exported_task_is_played_with_a_user_who_acts(
    played: FinishedRun, run: GenerationRun, tmp_path: Path, solves: bool
) -> None:
    guide = ScriptedLLM(error_rate=0.0)
    agent: LLM = guide if solves else SpoiledRole("agent", fixed_answer("Please do what is needed."), guide)
    write_worlds(tmp_path, some(played), run)
    with Worlds.open(tmp_path) as worlds:
        assert len(worlds.tasks) == sum(len(dialogue.tasks) for dialogue in some(played))
        for line in worlds.tasks.values():
            result = asyncio.run(worlds.play(line.start, agent))
            assert result.solved is solves, result.reasons


def test_a_fork_within_a_task_knows_what_the_user_did(played: FinishedRun, run: GenerationRun, tmp_path: Path) -> None:
    write_preferences(tmp_path, some(played), run)
    pairs = list(read_jsonl(tmp_path / "pairs.jsonl", Pair))
    after_actions = [
        pair
        for dialogue in some(played)
        for pair in pairs
        if pair.dialogue_id == dialogue.dialogue_id
        and any(action.message < pair.position for action in dialogue.actions(pair.task))
    ]
    assert after_actions, "every change of the agent comes after actions of the user"
