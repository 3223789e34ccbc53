"""Every stage alone and from every start state: a run continues what another one generated."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from core.dialogue import Dialogue, calls
from core.journal import read_jsonl, write_jsonl
from core.messages import AssistantMessage, SystemMessage, UserMessage
from generation.pipeline import DomainTools
from generation.scripted.llm import ScriptedLLM
from generation.stages import Rollouts, Tasks, Validation
from generation.start_states.preferences import Preference
from generation.start_states.start_states import StartStates, read_starts
from tests.generation.helpers.pipeline_runs import FinishedRun, SpoiledRole, fixed_answer, run_to_end, start_states

Domains = tuple[DomainTools, ...]
EXECUTED = "user_oriented_exec"
PIPELINES = ["task_oriented", "user_oriented", EXECUTED]
VALIDATION = Validation(votes=1, attempts=1)


def start_from(played: FinishedRun, name: str = "dialogues.jsonl", **changes: Any) -> StartStates:
    return start_states(read_starts(played.directory / name), **changes)


def essence(dialogue: Dialogue) -> dict[str, Any]:
    """The fields that must not depend on how a dialogue was generated."""
    return dialogue.model_dump(
        include={"dialogue_id", "domain", "messages", "tasks", "task_starts", "verdict", "state"}
    )


@pytest.mark.parametrize("name", PIPELINES)
def test_separate_runs_of_the_stages_give_what_one_run_gives(name: str, domains: Domains, tmp_path: Path) -> None:
    llm = ScriptedLLM(error_rate=0.0)
    whole = run_to_end(name, domains, tmp_path / "whole", n=12, llm=llm)
    tasks = run_to_end(name, domains, tmp_path / "tasks", n=12, llm=llm, stages=(Tasks(),))
    assert [(len(d.tasks), d.messages, d.verdict) for d in tasks.accepted] == [(1, (), None)] * 12
    starts = start_from(tasks)
    played = run_to_end(name, domains, tmp_path / "played", n=12, llm=llm, stages=(Rollouts(),), starts=starts)
    assert [bool(d.messages) and d.verdict is None for d in played.accepted] == [True] * 12
    starts = start_from(played)
    judged = run_to_end(name, domains, tmp_path / "judged", n=12, llm=llm, stages=(VALIDATION,), starts=starts)
    assert len(judged.accepted) >= 6
    assert [essence(d) for d in judged.accepted] == [essence(d) for d in whole.accepted]
    assert [essence(r.dialogue) for r in judged.rejected if r.dialogue] == [
        essence(r.dialogue) for r in whole.rejected if r.dialogue
    ]
    for each in (whole, tasks, played, judged):
        statistics = each.statistics
        assert statistics.started == 12 == statistics.accepted + statistics.rejected + statistics.failed


def test_validation_alone_finds_forged_results(executed: FinishedRun, domains: Domains, tmp_path: Path) -> None:
    forged = []
    for dialogue in executed.accepted:
        position = next(i for i, m in enumerate(dialogue.messages) if m.role == "tool")
        messages = list(dialogue.messages)
        messages[position] = messages[position].model_copy(update={"content": "[]"})
        forged.append(dialogue.model_copy(update={"messages": tuple(messages)}))
    write_jsonl(tmp_path / "forged.jsonl", forged)
    starts = start_states(read_starts(tmp_path / "forged.jsonl"))
    again = run_to_end(EXECUTED, domains, tmp_path / "again", n=99, stages=(VALIDATION,), starts=starts)
    assert again.statistics.started == len(forged) == again.statistics.rejected
    assert all(any(reason.startswith("replay: ") for reason in r.reasons) for r in again.rejected)


@pytest.mark.parametrize("name", PIPELINES)
def test_a_finished_dialogue_is_extended(
    name: str, executed: FinishedRun, simulated: dict[str, FinishedRun], domains: Domains, tmp_path: Path
) -> None:
    parents = {d.dialogue_id: d for d in (executed if name == EXECUTED else simulated[name]).accepted}
    starts = start_from(executed if name == EXECUTED else simulated[name])
    longer = run_to_end(name, domains, tmp_path, n=20, count={2: 1.0}, llm=ScriptedLLM(error_rate=0.0), starts=starts)
    assert longer.statistics.started == 20
    assert longer.statistics.accepted >= 12
    assert longer.statistics.failed == 0
    for dialogue in longer.accepted:
        parent = parents[dialogue.provenance.parent]
        kept = parent.messages[:-1] if isinstance(parent.messages[-1], UserMessage) else parent.messages
        assert dialogue.messages[: len(kept)] == kept
        assert len(dialogue.tasks) > len(parent.tasks)
        assert dialogue.provenance.tasks_requested == len(parent.tasks) + 2
        assert dialogue.provenance.persona == parent.provenance.persona, "the persona stays the same"
        assert [t.goal for t in dialogue.tasks[: len(parent.tasks)]] == [t.goal for t in parent.tasks]
        dialogue.check()


def test_a_fork_carries_its_database_state(executed: FinishedRun, domains: Domains, tmp_path: Path) -> None:
    """Branches share the transcript up to the fork, and continue in the state that it led to."""
    parents = {d.dialogue_id: d for d in executed.accepted}
    starts = start_from(executed, at="random", branches=3)
    forked = run_to_end(EXECUTED, domains, tmp_path, n=60, llm=ScriptedLLM(seed=5, error_rate=0.6), starts=starts)
    statistics = forked.statistics
    assert (statistics.started, statistics.failed) == (60, 0)
    assert statistics.accepted >= 20
    assert statistics.rejected >= 1
    branches = Counter(d.provenance.parent for d in forked.accepted)
    assert max(branches.values()) <= 3
    moved = 0
    for dialogue in forked.accepted:
        parent, length = parents[dialogue.provenance.parent], dialogue.provenance.parent_messages
        assert dialogue.messages[:length] == parent.messages[:length]
        assert len(dialogue.messages) > length
        moved += any(json.loads(result).get("rows_affected") for _, _, result in _changes(dialogue, length))
    assert moved >= 5, "some forks come after a change of the database"


def _changes(dialogue: Dialogue, length: int) -> list[tuple[str, dict[str, Any], str]]:
    return [call for call in calls(dialogue.messages[:length]) if "rows_affected" in call[2]]


def test_branches_become_preference_pairs(executed: FinishedRun, domains: Domains, tmp_path: Path) -> None:
    starts = start_from(executed, at="random", branches=4)
    forked = run_to_end(EXECUTED, domains, tmp_path, n=80, llm=ScriptedLLM(seed=7, error_rate=0.7), starts=starts)
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
    executed: FinishedRun, domains: Domains, tmp_path: Path
) -> None:
    starts = start_from(executed, at=4)
    forked = run_to_end(EXECUTED, domains, tmp_path, n=10, llm=ScriptedLLM(error_rate=0.0), starts=starts)
    assert forked.statistics.started == 10
    assert forked.statistics.accepted >= 9
    for dialogue in forked.accepted:
        assert dialogue.provenance.parent_messages <= 4
        assert len(dialogue.tasks) == 1, "the open task is finished, and no other started"


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
    name: str, inject: bool, domains: Domains, tmp_path: Path
) -> None:
    file = tmp_path / "foreign.jsonl"
    file.write_text("".join(json.dumps(FOREIGN | {"id": f"c{i}"}) + "\n" for i in range(6)))
    starts = start_states(read_starts(file), inject=inject)
    played = run_to_end(name, domains, tmp_path / "made", n=99, llm=ScriptedLLM(error_rate=0.0), starts=starts)
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


def test_given_tasks_are_played_and_unprovable_ones_refused(domains: Domains, tmp_path: Path) -> None:
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
    played = run_to_end(EXECUTED, (gym,), tmp_path / "made", n=3, count={1: 1.0}, llm=llm, starts=starts)
    (first, *_), rejected = played.accepted, played.rejected
    assert first.tasks[0].gold_calls
    assert first.tasks[0].mutates
    assert first.state
    assert len(first.state.diff) == 1
    assert next(r.reasons[0] for r in rejected if r.dialogue_id.endswith("1")).startswith(
        "finished: task_writer: the given task does not hold: call 0"
    )


def test_unusable_start_states_are_rejected_and_counted(
    executed: FinishedRun, domains: Domains, tmp_path: Path
) -> None:
    file = tmp_path / "mixed.jsonl"
    file.write_text(f"{executed.accepted[0].model_dump_json()}\nnonsense\n" + '{"messages": [{"role": "x"}]}\n')
    starts = start_states(read_starts(file))
    played = run_to_end(EXECUTED, domains, tmp_path / "made", n=99, starts=starts)
    statistics = played.statistics
    assert statistics.started == 3 == statistics.accepted + statistics.rejected
    broken = [r.reasons[0] for r in played.rejected if not r.dialogue]
    assert [reason.startswith(f"start: {file}, line {n}: ") for n, reason in zip((2, 3), broken, strict=True)] == [
        True
    ] * 2


@pytest.mark.parametrize("role", ["user", "agent", "task_writer", "judge"])
def test_a_model_that_talks_nonsense_never_breaks_a_start_state(
    role: Any, executed: FinishedRun, domains: Domains, tmp_path: Path
) -> None:
    for number, changes in enumerate(({}, {"at": "random", "branches": 2}, {"at": 3})):
        starts = start_from(executed, **changes)
        llm = SpoiledRole(role, fixed_answer("nonsense"))
        played = run_to_end(EXECUTED, domains, tmp_path / str(number), n=8, llm=llm, starts=starts)
        statistics = played.statistics
        assert (statistics.started, statistics.failed) == (8, 0)
        assert statistics.accepted + statistics.rejected == 8
