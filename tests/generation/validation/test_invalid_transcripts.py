"""Transcripts that break the message contract are rejected before anything is executed."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from core.messages import AssistantMessage, ToolCall, ToolMessage, UserMessage
from generation.environments.base import DomainEnvironment
from tests.generation.helpers.editable_transcripts import Line, call_of, lines_of, with_call, with_lines
from tests.generation.helpers.pipeline_runs import FinishedRun
from tests.generation.helpers.verdicts import verdict_on


def swap_first_answer(lines: list[Line]) -> list[Line]:
    """The first text answer as a user message."""
    position = next(i for i, (m, _) in enumerate(lines) if isinstance(m, AssistantMessage) and not m.tool_calls)
    message, task = lines[position]
    return [*lines[:position], (UserMessage(content=message.content), task), *lines[position + 1 :]]


def open_call(lines: list[Line]) -> list[Line]:
    position = next(i for i, (m, _) in enumerate(lines) if isinstance(m, ToolMessage))
    return lines[:position] + lines[position + 1 :]


def double_result(lines: list[Line]) -> list[Line]:
    position = next(i for i, (m, _) in enumerate(lines) if isinstance(m, ToolMessage))
    return lines[: position + 1] + lines[position:]


def rename(name: str) -> Callable[[list[Line]], list[Line]]:
    def change(lines: list[Line]) -> list[Line]:
        position = next(i for i, (m, _) in enumerate(lines) if isinstance(m, AssistantMessage) and m.tool_calls)
        message, task = lines[position]
        call = call_of(message)
        return [
            *lines[:position],
            (with_call(message, ToolCall.make(call.id, name, call.parsed())), task),
            *lines[position + 1 :],
        ]

    return change


@pytest.mark.parametrize(
    ("break_it", "why"),
    [
        (swap_first_answer, r"contract: message \d+ \(user\): (after 'tool'|the calls)"),
        (open_call, r"contract: message \d+ \(\w+\): (the calls .* before it have no answer|after 'call')"),
        (double_result, r"contract: message \d+ \(tool\): answers .* but the open calls are \[\]"),
        (rename("open_door"), r"contract: message \d+ \(assistant\): calls the undeclared tool 'open_door'"),
        (lambda lines: lines[1:2] + lines[:1] + lines[2:], r"contract: message 1 \(system\)"),
        (lambda lines: [*lines, lines[-1]], r"contract: message \d+ \(user\): after 'user'"),
    ],
)
async def test_invalid_transcripts_are_rejected_before_any_execution(
    executed: FinishedRun,
    environments: dict[str, DomainEnvironment],
    break_it: Callable[[list[Line]], list[Line]],
    why: str,
) -> None:
    # Dialogues whose first message has a single call, so that dropping its result leaves it open.
    dialogues = [
        d for d in executed.accepted if d.messages[2].role == "assistant" and len(d.messages[2].tool_calls or ()) == 1
    ]
    assert dialogues
    for dialogue in dialogues:
        broken = with_lines(dialogue, break_it(lines_of(dialogue))).model_copy(
            update={"task_starts": dialogue.task_starts}
        )
        verdict = await verdict_on(broken, environments[dialogue.domain])
        assert len(verdict.reasons) == 1
        assert re.match(why, verdict.reasons[0]), verdict.reasons
        assert not verdict.judgments
