"""Every stage alone and from every start state: what one run made, the next goes on with."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from core.dialogue import Dialogue, calls
from core.journal import read_jsonl, write_jsonl
from core.messages import AssistantMessage, SystemMessage, UserMessage
from generation.pipeline import DomainTools, StartStates
from generation.scripted.llm import ScriptedLLM
from generation.stages import Rollouts, Tasks, Validation
from generation.start_states.preferences import Preference
from generation.start_states.start_states import read_starts
from tests.generation.helpers.pipeline_runs import Played, Spoiler, play, saying, start_states

Subjects = tuple[DomainTools, ...]
EXECUTED = "user_oriented_exec"
PIPELINES = ["task_oriented", "user_oriented", EXECUTED]
VALIDATION = Validation(votes=1, attempts=1)


def start_from(played: Played, name: str = "dialogues.jsonl", **changes: Any) -> StartStates:
    return start_states(read_starts(played.directory / name), **changes)


def essence(dialogue: Dialogue) -> dict[str, Any]:
    """What must be the same whichever way a dialogue was made."""
    return dialogue.model_dump(
        include={"dialogue_id", "domain", "messages", "tasks", "task_starts", "verdict", "state"}
    )


@pytest.mark.parametrize("name", PIPELINES)
def test_stage_after_stage_gives_what_one_run_gives(name: str, domains: Subjects, tmp_path: Path) -> None:
    llm = ScriptedLLM(error_rate=0.0)
    whole = play(name, domains, tmp_path / "whole", n=12, llm=llm)
    tasks = play(name, domains, tmp_path / "tasks", n=12, llm=llm, stages=(Tasks(),))
    assert [(len(d.tasks), d.messages, d.verdict) for d in tasks.accepted] == [(1, (), None)] * 12
    starts = start_from(tasks)
    played = play(name, domains, tmp_path / "played", n=12, llm=llm, stages=(Rollouts(),), starts=starts)
    assert [bool(d.messages) and d.verdict is None for d in played.accepted] == [True] * 12
    starts = start_from(played)
    judged = play(name, domains, tmp_path / "judged", n=12, llm=llm, stages=(VALIDATION,), starts=starts)
    assert len(judged.accepted) >= 6
    assert [essence(d) for d in judged.accepted] == [essence(d) for d in whole.accepted]
    assert [essence(r.dialogue) for r in judged.rejected if r.dialogue] == [
        essence(r.dialogue) for r in whole.rejected if r.dialogue
    ]
    for one in (whole, tasks, played, judged):
        figures = one.statistics
        assert figures.started == 12 == figures.accepted + figures.rejected + figures.failed


def test_validation_alone_finds_what_was_forged_since(executed: Played, domains: Subjects, tmp_path: Path) -> None:
    forged = []
    for dialogue in executed.accepted:
        position = next(i for i, m in enumerate(dialogue.messages) if m.role == "tool")
        messages = list(dialogue.messages)
        messages[position] = messages[position].model_copy(update={"content": "[]"})
        forged.append(dialogue.model_copy(update={"messages": tuple(messages)}))
    write_jsonl(tmp_path / "forged.jsonl", forged)
    starts = start_states(read_starts(tmp_path / "forged.jsonl"))
    again = play(EXECUTED, domains, tmp_path / "again", n=99, stages=(VALIDATION,), starts=starts)
    assert again.statistics.started == len(forged) == again.statistics.rejected
    assert all(any(reason.startswith("replay: ") for reason in r.reasons) for r in again.rejected)


@pytest.mark.parametrize("name", PIPELINES)
def test_a_finished_dialogue_is_extended(
    name: str, executed: Played, simulated: dict[str, Played], domains: Subjects, tmp_path: Path
) -> None:
    parents = {d.dialogue_id: d for d in (executed if name == EXECUTED else simulated[name]).accepted}
    starts = start_from(executed if name == EXECUTED else simulated[name])
    longer = play(name, domains, tmp_path, n=20, count={2: 1.0}, llm=ScriptedLLM(error_rate=0.0), starts=starts)
    assert longer.statistics.started == 20
    assert longer.statistics.accepted >= 12
    assert longer.statistics.failed == 0
    for dialogue in longer.accepted:
        parent = parents[dialogue.provenance.parent]
        kept = parent.messages[:-1] if isinstance(parent.messages[-1], UserMessage) else parent.messages
        assert dialogue.messages[: len(kept)] == kept
        assert len(dialogue.tasks) > len(parent.tasks)
        assert dialogue.provenance.tasks_requested == len(parent.tasks) + 2
        assert dialogue.provenance.persona == parent.provenance.persona, "the same person goes on"
        assert [t.goal for t in dialogue.tasks[: len(parent.tasks)]] == [t.goal for t in parent.tasks]
        dialogue.check()


def test_a_fork_carries_its_database_state(executed: Played, domains: Subjects, tmp_path: Path) -> None:
    """Branches share the transcript up to the fork, and go on in the state that it made."""
    parents = {d.dialogue_id: d for d in executed.accepted}
    starts = start_from(executed, at="random", branches=3)
    forked = play(EXECUTED, domains, tmp_path, n=60, llm=ScriptedLLM(seed=5, error_rate=0.6), starts=starts)
    figures = forked.statistics
    assert (figures.started, figures.failed) == (60, 0)
    assert figures.accepted >= 20
    assert figures.rejected >= 1
    branches = Counter(d.provenance.parent for d in forked.accepted)
    assert max(branches.values()) <= 3
    moved = 0
    for dialogue in forked.accepted:
        parent, length = parents[dialogue.provenance.parent], dialogue.provenance.parent_messages
        assert dialogue.messages[:length] == parent.messages[:length]
        assert len(dialogue.messages) > length
        moved += any(json.loads(result).get("rows_affected") for _, _, result in _changes(dialogue, length))
    assert moved >= 5, "forks behind a change of the database are among them"


def _changes(dialogue: Dialogue, length: int) -> list[tuple[str, dict[str, Any], str]]:
    return [call for call in calls(dialogue.messages[:length]) if "rows_affected" in call[2]]


def test_branches_become_preference_pairs(executed: Played, domains: Subjects, tmp_path: Path) -> None:
    starts = start_from(executed, at="random", branches=4)
    forked = play(EXECUTED, domains, tmp_path, n=80, llm=ScriptedLLM(seed=7, error_rate=0.7), starts=starts)
    pairs = list(read_jsonl(tmp_path / "preferences.jsonl", Preference))
    assert len(pairs) >= 5
    good = {d.dialogue_id: d for d in forked.accepted}
    bad = {r.dialogue_id: r.dialogue for r in forked.rejected}
    assert len({p.chosen_id for p in pairs}) == len({p.rejected_id for p in pairs}) == len(pairs)
    for pair in pairs:
        chosen, rejected = good[pair.chosen_id], bad[pair.rejected_id]
        assert rejected
        assert (*pair.prompt, *pair.chosen) == chosen.messages
        assert (*pair.prompt, *pair.rejected) == rejected.messages
        assert rejected.verdict
        assert rejected.verdict.blame == "agent"
        assert pair.chosen != pair.rejected


def test_a_fork_at_a_message_is_the_same_dialogue_again_for_the_same_model(
    executed: Played, domains: Subjects, tmp_path: Path
) -> None:
    starts = start_from(executed, at=4)
    forked = play(EXECUTED, domains, tmp_path, n=10, llm=ScriptedLLM(error_rate=0.0), starts=starts)
    assert forked.statistics.started == 10
    assert forked.statistics.accepted >= 9
    for dialogue in forked.accepted:
        assert dialogue.provenance.parent_messages <= 4
        assert len(dialogue.tasks) == 1, "the task that was open is finished, and no other begun"


FOREIGN = {
    "id": "conversation-17",
    "messages": [
        {"role": "system", "content": "You sell shoes."},
        {"role": "user", "content": "Do you have boots in 43?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "find_shoes", "arguments": '{"size": 43}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c", "content": "2 pairs"},
        {"role": "assistant", "content": "Two pairs."},
        {"role": "user", "content": "Thank you."},
    ],
}


@pytest.mark.parametrize(("name", "inject"), [("user_oriented", False), ("user_oriented", True), (EXECUTED, True)])
def test_a_task_is_injected_into_a_conversation_of_any_origin(
    name: str, inject: bool, domains: Subjects, tmp_path: Path
) -> None:
    file = tmp_path / "foreign.jsonl"
    file.write_text("".join(json.dumps(FOREIGN | {"id": f"c{i}"}) + "\n" for i in range(6)))
    starts = start_states(read_starts(file), inject=inject)
    played = play(name, domains, tmp_path / "made", n=99, llm=ScriptedLLM(error_rate=0.0), starts=starts)
    assert (played.statistics.started, played.statistics.failed) == (6, 0)
    assert played.statistics.accepted >= 4
    for dialogue in played.accepted:
        assert dialogue.given == 5
        assert dialogue.messages[0] == SystemMessage(content="You sell shoes.")
        assert isinstance(dialogue.messages[4], AssistantMessage)
        assert dialogue.task_starts[0] == 5
        assert dialogue.tools[0].name == "find_shoes"
        assert (len(dialogue.tools) > 1) is inject
        dialogue.check()


def test_given_tasks_are_played_and_those_that_do_not_hold_are_refused(domains: Subjects, tmp_path: Path) -> None:
    gym = next(subject for subject in domains if subject.domain.name == "gym")
    good = {"tool": "delete_booking", "arguments": {"booking_id": 108}}
    plan = {"subgoals": ["delete booking number 108"], "plan": [good]}
    goal = "The user wants to delete booking number 108."
    lines = [
        {"domain": "gym", "tasks": [{"goal": goal} | plan]},
        {"domain": "gym", "tasks": [{"goal": goal} | plan | {"plan": [good | {"arguments": {"booking_id": 10**6}}]}]},
        {"domain": "gym", "tasks": ["The user wants to know the opening hours."]},
    ]
    file = tmp_path / "tasks.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    starts = start_states(read_starts(file))
    llm = ScriptedLLM(error_rate=0.0)
    played = play(EXECUTED, (gym,), tmp_path / "made", n=3, count={1: 1.0}, llm=llm, starts=starts)
    (first, *_), rejected = played.accepted, played.rejected
    assert first.tasks[0].gold_calls
    assert first.tasks[0].mutates
    assert first.state
    assert len(first.state.diff) == 1
    assert next(r.reasons[0] for r in rejected if r.dialogue_id.endswith("1")).startswith(
        "finished: task_writer: the given task does not hold: call 0"
    )


def test_lines_that_cannot_begin_are_rejected_and_counted(executed: Played, domains: Subjects, tmp_path: Path) -> None:
    file = tmp_path / "mixed.jsonl"
    file.write_text(f"{executed.accepted[0].model_dump_json()}\nnonsense\n" + '{"messages": [{"role": "x"}]}\n')
    starts = start_states(read_starts(file))
    played = play(EXECUTED, domains, tmp_path / "made", n=99, starts=starts)
    figures = played.statistics
    assert figures.started == 3 == figures.accepted + figures.rejected
    broken = [r.reasons[0] for r in played.rejected if not r.dialogue]
    assert [reason.startswith(f"start: {file}, line {n}: ") for n, reason in zip((2, 3), broken, strict=True)] == [
        True
    ] * 2


@pytest.mark.parametrize("role", ["user", "agent", "task_writer", "judge"])
def test_a_model_that_talks_nonsense_never_breaks_a_start_state(
    role: Any, executed: Played, domains: Subjects, tmp_path: Path
) -> None:
    for number, changes in enumerate(({}, {"at": "random", "branches": 2}, {"at": 3})):
        starts = start_from(executed, **changes)
        llm = Spoiler(role, saying("nonsense"))
        played = play(EXECUTED, domains, tmp_path / str(number), n=8, llm=llm, starts=starts)
        figures = played.statistics
        assert (figures.started, figures.failed) == (8, 0)
        assert figures.accepted + figures.rejected == 8
