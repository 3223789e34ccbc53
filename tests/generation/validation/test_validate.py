"""Accepted dialogues, broken in one way at a time: validation must find each break for the right reason."""

from __future__ import annotations

import json
import re

import pytest

from core.dialogue import Dialogue
from core.messages import AssistantMessage, ToolCall, ToolMessage
from core.policy import Policy, StaffRule
from generation.environments.base import DomainEnvironment
from generation.validation.validate import difference, replay
from tests.generation.helpers.editable_transcripts import (
    Line,
    call_of,
    lines_of,
    single_changes,
    with_call,
    with_lines,
    with_real_results,
)
from tests.generation.helpers.pipeline_runs import FinishedRun
from tests.generation.helpers.verdicts import verdict_on


async def same_states(one: Dialogue, other: Dialogue, domain_environment: DomainEnvironment) -> bool:
    """Whether the tasks of both end in the same states."""
    return (await replay(one, domain_environment)).hashes == (await replay(other, domain_environment)).hashes


async def test_undisturbed_dialogues_pass_and_replay_to_their_hash(
    executed: FinishedRun, environments: dict[str, DomainEnvironment]
) -> None:
    assert len(executed.accepted) >= 20
    for dialogue in executed.accepted:
        domain_environment = environments[dialogue.domain]
        case = await with_real_results(dialogue, domain_environment)
        assert case.messages == dialogue.messages, "the recorded results are the real ones"
        assert case.state == dialogue.state
        replayed = await replay(dialogue, domain_environment)
        assert (replayed.proof, replayed.faithful) == (dialogue.state, True)
        assert replayed.hashes[-1] == replayed.proof.final_hash
        verdict = await verdict_on(case, domain_environment)
        assert verdict.accepted, verdict.reasons
        assert {check.name.split()[0] for check in verdict.checks} == {
            "finished",
            "contract",
            "state",
            "told",
            "replay",
        }


async def test_a_dialogue_of_one_task_is_accepted(
    executed: FinishedRun, environments: dict[str, DomainEnvironment]
) -> None:
    several = [dialogue for dialogue in executed.accepted if len(dialogue.tasks) > 1][:3]
    for dialogue in several:
        tasks, starts = dialogue.tasks[:1], dialogue.task_starts[:1]
        first = dialogue.model_copy(update={"tasks": tasks, "task_starts": starts, "state": None})
        first = first.model_copy(update={"messages": dialogue.messages[: dialogue.task_starts[1]]})
        verdict = await verdict_on(first, environments[dialogue.domain])
        assert verdict.accepted, verdict.reasons
    assert len(several) == 3


async def test_a_call_that_the_policy_forbids_is_named(
    executed: FinishedRun, environments: dict[str, DomainEnvironment]
) -> None:
    dialogue = executed.accepted[0]
    position, call, *_ = next(dialogue.executed(0))
    rule = StaffRule(rule_id="office", text="The office does that.", tools=(call.name,), contact="555-0142")
    for limited, reasons in (
        (rule, [f"policy: {call.name} (message {position}) breaks office"]),
        (rule.model_copy(update={"tools": ("no_such_tool",)}), []),
    ):
        case = dialogue.model_copy(update={"policy": Policy(rules=(limited,))})
        verdict = await verdict_on(case, environments[dialogue.domain])
        assert [reason.split(";")[0] for reason in verdict.reasons] == reasons
        assert [check.passed for check in verdict.checks if check.name == "policy"] == [not reasons]


async def test_a_replay_closes_its_environment(
    executed: FinishedRun, environments: dict[str, DomainEnvironment], monkeypatch: pytest.MonkeyPatch
) -> None:
    domain_environment = environments[executed.accepted[0].domain]
    environment = domain_environment.open()
    close = environment.close
    closed: list[bool] = []
    monkeypatch.setattr(domain_environment, "open", lambda: environment)
    monkeypatch.setattr(environment, "close", lambda: closed.append(True))
    await replay(executed.accepted[0], domain_environment)
    close()
    assert closed == [True]


async def test_the_diff_is_empty_exactly_without_changes(executed: FinishedRun) -> None:
    for dialogue in executed.accepted:
        assert dialogue.state
        moved = dialogue.state.initial_hash != dialogue.state.final_hash
        assert bool(dialogue.state.diff) is moved
    assert {bool(dialogue.state and dialogue.state.diff) for dialogue in executed.accepted} == {True, False}


async def test_a_dropped_change_fails_the_state_of_its_task(
    executed: FinishedRun, environments: dict[str, DomainEnvironment]
) -> None:
    tried = explained = 0
    for dialogue in executed.accepted:
        domain_environment = environments[dialogue.domain]
        for position in await single_changes(dialogue, domain_environment):
            lines = lines_of(dialogue)
            task = lines[position][1]
            case = await with_real_results(
                with_lines(dialogue, lines[:position] + lines[position + 2 :]), domain_environment
            )
            if await same_states(case, dialogue, domain_environment):
                continue  # a mistake that was corrected later: without it the dialogue is only shorter
            verdict = await verdict_on(case, domain_environment)
            assert not verdict.accepted
            details = {check.name: check.detail for check in verdict.checks if not check.passed}
            detail = details[f"state of task {task}"]
            # What is missing, or what the dropped call would have removed; else the gold calls cannot be made any more.
            assert re.search("; (missing|too much): ", detail) or not detail.startswith("the state is not")
            explained += "; missing: " in detail
            tried += 1
    assert tried >= 10
    assert explained >= 5


async def test_a_change_dropped_from_the_transcript_alone_does_not_replay(
    executed: FinishedRun, environments: dict[str, DomainEnvironment]
) -> None:
    tried = 0
    for dialogue in executed.accepted:
        domain_environment = environments[dialogue.domain]
        for position in (await single_changes(dialogue, domain_environment))[-1:]:
            lines = lines_of(dialogue)
            verdict = await verdict_on(
                with_lines(dialogue, lines[:position] + lines[position + 2 :]), domain_environment
            )
            assert verdict.checks[-1].name == "replay"
            assert not verdict.checks[-1].passed
            tried += 1
    assert tried >= 5


async def test_a_changed_argument_fails_the_state(
    executed: FinishedRun, environments: dict[str, DomainEnvironment]
) -> None:
    """The correct tool, called for the row next to the correct one."""
    tried = 0
    for dialogue in executed.accepted:
        domain_environment = environments[dialogue.domain]
        for position in await single_changes(dialogue, domain_environment):
            call = call_of(dialogue.messages[position])
            if not call.name.startswith(("update_", "delete_")):
                continue
            key, value = next(iter(call.parsed().items()))
            lines = lines_of(dialogue)
            other = ToolCall.make(call.id, call.name, call.parsed() | {key: value + 1 if value < 3 else value - 1})
            lines[position] = (with_call(lines[position][0], other), lines[position][1])
            case = await with_real_results(with_lines(dialogue, lines), domain_environment)
            if await same_states(case, dialogue, domain_environment):
                continue
            verdict = await verdict_on(case, domain_environment)
            (wrong,) = (r for r in verdict.reasons if r.startswith(f"state of task {lines[position][1]}"))
            assert "; missing: " in wrong or "; too much: " in wrong
            tried += 1
    assert tried >= 5


async def test_an_extra_change_fails_the_state(
    executed: FinishedRun, environments: dict[str, DomainEnvironment]
) -> None:
    tried = 0
    for dialogue in executed.accepted:
        domain_environment = environments[dialogue.domain]
        for position in await single_changes(dialogue, domain_environment):
            call = call_of(dialogue.messages[position])
            if not call.name.startswith("create_"):
                continue
            lines = lines_of(dialogue)
            message, task = lines[position]
            again = ToolCall.make("again", call.name, call.parsed())
            extra: list[Line] = [
                (with_call(message, again), task),
                (ToolMessage(tool_call_id="again", content=""), task),
            ]
            case = await with_real_results(
                with_lines(dialogue, lines[: position + 2] + extra + lines[position + 2 :]), domain_environment
            )
            if case.state == dialogue.state:
                continue  # a record that may not be there twice
            verdict = await verdict_on(case, domain_environment)
            (wrong,) = (r for r in verdict.reasons if r.startswith(f"state of task {task}"))
            assert "; too much: INSERT" in wrong
            tried += 1
    assert tried >= 3


def test_a_wrong_state_is_told_in_a_few_lines() -> None:
    assert list(difference(("a", "b", "b"), ("b", "c"))) == ["missing: a, b", "too much: c"]
    many = tuple(f"line {number}" for number in range(5))
    assert list(difference(many, ())) == ["missing: line 0, line 1, line 2 and 2 more"]
    assert list(difference(many, many)) == []


async def test_a_forged_tool_result_does_not_replay(
    executed: FinishedRun, environments: dict[str, DomainEnvironment]
) -> None:
    for dialogue in executed.accepted:
        position = next(i for i, m in enumerate(dialogue.messages) if isinstance(m, ToolMessage))
        forged = list(dialogue.messages)
        forged[position] = forged[position].model_copy(update={"content": forged[position].content + " "})
        case = dialogue.model_copy(update={"messages": tuple(forged)})
        verdict = await verdict_on(case, environments[dialogue.domain])
        assert [check.name for check in verdict.checks if not check.passed] == ["replay"]
        assert verdict.blame == "tool"
        assert not (await replay(case, environments[dialogue.domain])).faithful


async def test_a_value_that_the_agent_never_mentions_fails_its_task(
    executed: FinishedRun, environments: dict[str, DomainEnvironment]
) -> None:
    tried = 0
    for dialogue in executed.accepted:
        for number, task in enumerate(dialogue.tasks):
            if not task.told_values:
                continue
            value = task.told_values[0]
            lines = [
                (m.model_copy(update={"content": "I have looked it up."}), n)
                if n == number
                and isinstance(m, AssistantMessage)
                and not m.tool_calls
                and value.casefold() in m.content.casefold()
                else (m, n)
                for m, n in lines_of(dialogue)
            ]
            verdict = await verdict_on(with_lines(dialogue, lines), environments[dialogue.domain])
            (reason,) = verdict.reasons
            assert reason.startswith(f"told in task {number}: never told: ")
            assert value in reason
            tried += 1
    assert tried >= 20


TYPOGRAPHIC = str.maketrans({"-": "\u2011", "'": "\u2019"})


async def test_what_reads_the_same_is_accepted(
    executed: FinishedRun, environments: dict[str, DomainEnvironment]
) -> None:
    """The same dialogues by a model that writes U+2011 and U+2019, in its answers and in its calls."""
    changed = 0
    for dialogue in executed.accepted:
        declared = {tool.name: tool for tool in dialogue.tools}
        lines: list[Line] = []
        for message, task in lines_of(dialogue):
            written = message
            if isinstance(message, AssistantMessage):
                written = message.model_copy(update={"content": message.content.translate(TYPOGRAPHIC)})
                tool_calls = [
                    ToolCall.make(call.id, call.name, json.loads(json.dumps(call.parsed()).translate(TYPOGRAPHIC)))
                    for call in message.tool_calls or ()
                ]
                if tool_calls and not any(declared[call.name].argument_error(call.parsed()) for call in tool_calls):
                    written = written.model_copy(update={"tool_calls": tuple(tool_calls)})
            changed += written != message
            lines.append((written, task))
        verdict = await verdict_on(with_lines(dialogue, lines), environments[dialogue.domain])
        assert verdict.accepted, verdict.reasons
    assert changed >= 20
