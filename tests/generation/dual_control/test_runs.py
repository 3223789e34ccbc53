"""Dialogues with users who have tools of their own: accepted, replayed, continued; the agent never sees those tools."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from generation.environments.sql import SqlEnvironmentFactory
from generation.llm.meter import Meter
from generation.pipeline import DomainTools
from generation.scripted.llm import ScriptedLLM
from generation.seeds.support_desk import DESKS
from generation.start_states.start_states import StartState
from generation.validation.validate import replay
from tests.generation.helpers.pipeline_runs import FinishedRun, start_states
from tests.generation.helpers.support_desks import play


def test_all_are_accepted_and_the_user_acts(played: FinishedRun) -> None:
    assert len(played.accepted) == 16, [rejection.reasons for rejection in played.rejected]
    assert {dialogue.domain for dialogue in played.accepted} == set(DESKS)
    for dialogue in played.accepted:
        dialogue.check()
        for number, task in enumerate(dialogue.tasks):
            gold = [(call.tool, call.arguments) for call in task.gold_calls if call.actor == "user"]
            assert [(action.tool, action.arguments) for action in dialogue.actions(number)] == gold
            assert gold


def test_the_agent_never_sees_what_the_user_does(played: FinishedRun) -> None:
    users = {tool.spec.name for desk in DESKS.values() for tool in desk.user_tools}
    seen = [request for request, _ in played.log if request.role == "agent"]
    assert seen
    for request in seen:
        assert not users & {tool.name for tool in request.tools}
        assert not any(name in message.content for name in users for message in request.messages)
    for dialogue in played.accepted:
        spoken = [message.content for message in dialogue.messages if message.role in ("user", "assistant")]
        assert not any(action.result in text for action in dialogue.user_actions for text in spoken)


def test_they_replay_and_a_changed_action_does_not(desks: tuple[DomainTools, ...], played: FinishedRun) -> None:
    toolsets = {desk.domain.name: desk.toolset for desk in desks}
    factory = SqlEnvironmentFactory()
    for dialogue in played.accepted[:6]:
        environment = factory.for_domain(toolsets[dialogue.domain], Meter(ScriptedLLM()), "d")
        replayed = asyncio.run(replay(dialogue, environment))
        assert (replayed.faithful, replayed.proof) == (True, dialogue.state)
        look_ups = [action for action in dialogue.user_actions if "rows_affected" not in action.result]
        without = dialogue.model_copy(update={"user_actions": tuple(look_ups)})
        replayed = asyncio.run(replay(without, environment))
        changed = len(look_ups) < len(dialogue.user_actions)
        assert (replayed.faithful and replayed.proof == dialogue.state) is not changed
    factory.close()


def test_the_same_seed_makes_the_same_dialogues(
    desks: tuple[DomainTools, ...], played: FinishedRun, tmp_path: Path
) -> None:
    again = play(desks, tmp_path, n=4, concurrency=1)
    assert [d.model_dump() for d in again.accepted] == [d.model_dump() for d in played.accepted[:4]]


@pytest.mark.parametrize("at", ["random", "end"])
def test_a_dialogue_continues_from_any_message(
    desks: tuple[DomainTools, ...], played: FinishedRun, tmp_path: Path, at: str
) -> None:
    starts = tuple(StartState(d.dialogue_id, d) for d in played.accepted[:4])
    run = play(desks, tmp_path, n=4, starts=start_states(starts, at=at))
    assert len(run.accepted) == 4, [rejection.reasons for rejection in run.rejected]
    for parent, child in zip(played.accepted, run.accepted, strict=False):
        length = child.provenance.parent_messages or 0
        inherited = [action for action in parent.user_actions if action.message < length]
        assert list(child.user_actions[: len(inherited)]) == inherited
