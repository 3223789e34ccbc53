"""Handwritten dialogues with a vet's assistant, and their tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.dialogue import Dialogue, PlannedCall, Rubric, Task
from core.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, ToolSpec, UserMessage

TOOLS = tuple(
    ToolSpec(name=name, description=name, parameters={"type": "object", "properties": {key: {} for key in keys}})
    for name, keys in (
        ("move_visit", ("visit_id", "newDay")),
        ("rename_pet", ("pet_id", "name")),
        ("search", ("query",)),
    )
)
TASK = Task(
    task_id="d/t0",
    goal=(
        "The user wants to move visit 204 to 2025-03-14. They also want to rename the pet Rex to Max. "
        "They also want to know the price of a check-up."
    ),
    subgoals=("move visit 204 to 2025-03-14", "rename the pet Rex to Max", "know the price of a check-up"),
    difficulty="hard",
    rubric=Rubric(criteria=()),
    plan=(
        PlannedCall(tool="move_visit", arguments={"visit_id": 204, "newDay": "2025-03-14"}, subgoal=0),
        PlannedCall(tool="search", arguments={"query": "Rex"}, subgoal=1),
        PlannedCall(tool="rename_pet", arguments={"pet_id": "${1.pet_id}", "name": "Max"}, subgoal=1),
        PlannedCall(tool="search", arguments={"query": "check-up"}, subgoal=2),
    ),
)
SECOND = Task(
    task_id="d/t1",
    goal="The user wants to cancel visit 350.",
    subgoals=("cancel visit 350",),
    difficulty="easy",
    rubric=Rubric(criteria=()),
    plan=(PlannedCall(tool="search", arguments={"query": "350"}),),
)
GOOD = (
    "U Hi, could you move visit 204 to March 14th?",
    "A Done: it is on Friday now, at 10:30.",
    "U Great, 10:30 suits me. My pet Rex is called Max from now on.",
    "T The pet has number 77.",
    "A Noted.",
    "U And what does a check-up cost?",
    "A It costs 45.50. Is there anything else?",
    "U Thanks, that is all.",
)


def messages_of(lines: Sequence[str]) -> tuple[Message, ...]:
    """One message per line: U from the user, A from the assistant, T a tool result (which the user does not see)."""
    messages: list[Message] = [SystemMessage(content="You serve.")]
    for number, line in enumerate(lines):
        kind, _, text = line.partition(" ")
        if kind == "U":
            messages.append(UserMessage(content=text))
        elif kind == "A":
            messages.append(AssistantMessage(content=text))
        else:
            call = ToolCall.make(f"c{number}", "search", {"query": "x"})
            messages.append(AssistantMessage(content="number 78, one moment", tool_calls=(call,)))
            messages.append(ToolMessage(tool_call_id=call.id, content=text))
    return tuple(messages)


def talk(*lines: str, tasks: Sequence[Task] = (TASK,), starts: Sequence[int] = (1,), **fields: Any) -> Dialogue:
    known: dict[str, Any] = {"dialogue_id": "d", "pipeline": "user_oriented", "domain": "vet", "tools": TOOLS}
    return Dialogue(messages=messages_of(lines), tasks=tuple(tasks), task_starts=tuple(starts), **(known | fields))


def changed(position: int, text: str) -> tuple[str, ...]:
    """The lines of GOOD with one replaced."""
    return (*GOOD[:position], text, *GOOD[position + 1 :])
