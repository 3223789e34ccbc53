"""Blame where judges decide, and of dialogues that run in circles."""

from __future__ import annotations

import json

import pytest

from core.dialogue import Judgment
from core.messages import (
    AssistantMessage,
    FunctionCall,
    Message,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from generation.validation.blame import blame
from generation.validation.validate import rejections
from tests.generation.helpers.failed_dialogues import ASK, BOOK, dialogue, exchange, failing, judgment


@pytest.mark.parametrize(
    ("judgments", "who"),
    [
        ([judgment("invalid", "user")], "user"),
        ([judgment("invalid", None)], "agent"),
        ([judgment("invalid", "judge")], "judge"),
        (
            [judgment("invalid", "tool"), judgment("valid"), judgment("invalid", "tool"), judgment("invalid", "user")],
            "tool",
        ),
        ([judgment("invalid", "user"), judgment("invalid", None), judgment("invalid", "agent")], "agent"),
        ([judgment("valid"), judgment("valid")], None),
    ],
)
def test_without_execution_the_most_frequent_judgment_decides(judgments: list[Judgment], who: str | None) -> None:
    case = dialogue(*[exchange(ASK)] * len(judgments))
    assert blame(case, failing(), rejections(case, judgments, False, "off")) == who
    assert blame(case, failing(), rejections(case, judgments, True, "off")) is None, (
        "execution proved every task, so the judge does not count"
    )


def test_with_execution_the_judge_decides_only_unproved_tasks() -> None:
    case = dialogue(exchange(ASK), exchange(ASK))
    unproven = BOOK.model_copy(update={"gold_calls": ()})
    mixed = case.model_copy(update={"tasks": (BOOK, unproven)})
    assert (
        blame(
            mixed, failing(), rejections(mixed, [judgment("invalid", "user"), judgment("invalid", "tool")], True, "off")
        )
        == "tool"
    )
    assert (
        blame(mixed, failing(), rejections(mixed, [judgment("invalid", "user"), judgment("valid")], True, "off"))
        is None
    )


GOLD = [
    (call.tool, json.dumps(call.arguments), '[{"guest_id": 7}]' if number == 0 else '{"rows_affected": 1}')
    for number, call in enumerate(BOOK.gold_calls)
]


def made(*calls_and_results: tuple[str, str, str]) -> list[Message]:
    messages: list[Message] = []
    for number, (name, arguments, result) in enumerate(calls_and_results):
        call = ToolCall(id=f"g{number}", function=FunctionCall(name=name, arguments=arguments))
        messages += [AssistantMessage(tool_calls=(call,)), ToolMessage(tool_call_id=f"g{number}", content=result)]
    return messages


@pytest.mark.parametrize("stop", ["user: not done after 12 messages", "agent: repeats itself", "user: repeats itself"])
@pytest.mark.parametrize(
    ("messages", "who"),
    [
        (exchange("Open by asking for help.", "Open by asking for help."), "user"),
        (exchange(ASK, "Yes.", "Yes, please."), "agent"),
        ([UserMessage(content=ASK), *made(*GOLD), *exchange("And now?", "And now, please?")[1:]], "user"),
        (
            [UserMessage(content=ASK), *made((*GOLD[0][:2], '{"error": "no"}')), *exchange("Again.", "Again!")[1:]],
            "tool",
        ),
    ],
)
def test_circles_are_the_fault_of_who_did_not_do_his_part(stop: str, messages: list[Message], who: str) -> None:
    """Recorded: a user who recited its instructions twice to an agent that twice asked what it wanted."""
    assert blame(dialogue(messages, stop=stop), failing("finished"), {}) == who
