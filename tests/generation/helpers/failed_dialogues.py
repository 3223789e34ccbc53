"""A task, dialogues about it, and their failed checks."""

from __future__ import annotations

from typing import Any

from core.dialogue import Check, Dialogue, Judgment, PlannedCall, Rubric, Task
from core.messages import (
    AssistantMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
)

BOOK = Task(
    task_id="d/t0",
    goal="The user wants to move the booking of Ada Moreno to 14 March 2025 (2025-03-14) for 2 people.",
    subgoals=("move the booking of Ada Moreno",),
    difficulty="medium",
    rubric=Rubric(criteria=()),
    plan=(
        PlannedCall(tool="search_guests", arguments={"name": "Ada Moreno"}),
        PlannedCall(
            tool="update_booking",
            arguments={
                "guest_id": "${0.guest_id}",
                "day": "2025-03-14",
                "people": 2,
                "paid": True,
                "notes": [""],
            },
        ),
    ),
    gold_calls=(
        PlannedCall(tool="search_guests", arguments={"name": "Ada Moreno"}),
        PlannedCall(tool="update_booking", arguments={"guest_id": 7, "day": "2025-03-14", "people": 2, "paid": True}),
    ),
)
MOVE = {"day": "2025-03-14", "people": 2, "paid": True}
ASK = "Please move Ada Moreno's booking to 2025-03-14, 2 people."


def dialogue(*parts: list[Message], stop: str = "complete", task: Task = BOOK) -> Dialogue:
    """A dialogue with one task per part."""
    messages: list[Message] = [SystemMessage(content="s")]
    starts = []
    for part in parts:
        starts.append(len(messages))
        messages += part
    return Dialogue(
        dialogue_id="d",
        pipeline="p",
        domain="x",
        tools=(),
        messages=tuple(messages),
        tasks=(task,) * len(parts),
        task_starts=tuple(starts),
        stop=stop,
    )


def exchange(*texts: str) -> list[Message]:
    return [message for text in texts for message in (UserMessage(content=text), AssistantMessage(content="Done."))]


def called(**arguments: Any) -> list[Message]:
    call = ToolCall.make("c", "update_booking", arguments)
    return [
        UserMessage(content="Move Ada Moreno's booking to the 14th of March for both of us."),
        AssistantMessage(tool_calls=(call,)),
        ToolMessage(tool_call_id="c", content='{"error": "no"}'),
        AssistantMessage(content="That did not work."),
    ]


def failing(*names: str) -> list[Check]:
    """Checks that failed: those named "… task 0" are about that task."""
    numbers = {name: int(name[-1]) if name[-1].isdigit() else None for name in names}
    failed = [Check(name=name, passed=False, task=number) for name, number in numbers.items()]
    return [Check(name="finished", passed="finished" not in names), *failed]


def judgment(word: str, who: Any = None) -> Judgment:
    return Judgment(judgment="valid" if word == "valid" else "invalid", reasoning="", blame=who)
