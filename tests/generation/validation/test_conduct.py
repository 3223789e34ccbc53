"""What an agent has to do besides calls, kind by kind: dialogues written by hand, right and wrong ones."""

from __future__ import annotations

from typing import Any

import pytest

from core.dialogue import Dialogue
from core.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, ToolSpec, UserMessage
from generation.validation.conduct import conduct
from tests.generation.helpers.pipeline_runs import task_of

TOOL = ToolSpec(name="set_phone", description="", parameters={"type": "object"})
CALL = ("call", "set_phone")


def dialogue(kind: str, *turns: str | tuple[str, str], late: int | None = None) -> Dialogue:
    """User and assistant in turn; a tuple is a call, which changes something."""
    messages: list[Message] = [SystemMessage(content="You serve.")]
    is_user = True
    for number, turn in enumerate(turns):
        if isinstance(turn, tuple):
            call = ToolCall.make(f"c{number}", turn[1], {})
            messages += [AssistantMessage(tool_calls=(call,)), ToolMessage(tool_call_id=call.id, content="{}")]
        else:
            messages.append(UserMessage(content=turn) if is_user else AssistantMessage(content=turn))
            is_user = not is_user
    task = task_of("Set the phone of Ann to 5550142.", ("set the phone",), kind=kind, withheld=("5550142",))
    task = task.model_copy(update={"late_tools": ("set_phone",)} if late else {})
    late_tools = {"set_phone": late} if late else {}
    fields: dict[str, Any] = {"messages": tuple(messages), "tools": (TOOL,), "late_tools": late_tools}
    return Dialogue(dialogue_id="d", pipeline="p", domain="x", tasks=(task,), task_starts=(1,), **fields)


def changes(made: Dialogue) -> set[int]:
    return {n for n, m in enumerate(made.messages) if isinstance(m, AssistantMessage) and m.tool_calls}


ASKED = ("Set Ann's phone.", "To which number?", "5550142, please.", CALL, "Done: 5550142.")
UNASKED = ("Set Ann's phone.", CALL, "Done.")
TOLD_AT_ONCE = ("Set Ann's phone to 5550142.", CALL, "Done.")
ASKED_TOO_LATE = ("Set Ann's phone.", CALL, "Done. Or to which number?", "5550142.", "All right, it is that one.")
ASKED_SOMETHING_ELSE = ("Set Ann's phone.", "Are you sure?", "Yes.", CALL, "Done.")
WITHDRAWN = ("Set Ann's phone.", "To which number?", "Oh, then leave it.", "All right.")
LEFT = ("Set Ann's phone.", "It has been taken care of.", "Thanks.")


@pytest.mark.parametrize(
    ("kind", "turns", "passes"),
    [
        ("incomplete", ASKED, True),
        ("ambiguous", ASKED, True),
        ("incomplete", UNASKED, False),
        ("incomplete", TOLD_AT_ONCE, False),
        ("incomplete", ASKED_TOO_LATE, False),
        ("ambiguous", ASKED_SOMETHING_ELSE, False),
        ("withdrawn", WITHDRAWN, True),
        ("withdrawn", LEFT, False),
        ("no_tool", ("Set it.", "I am sorry, I have no means to do that."), True),
        ("no_tool", ("Set it.", "Consider it done!"), False),
        ("forbidden", ("Set it.", "Our rules do not allow that."), True),
        ("forbidden", ("Set it.", "No problem, it is set."), False),
        ("not_found", ("Who is Zoe?", CALL, "There is no one of that name."), True),
        ("not_found", ("Who is Zoe?", "I could not find anyone of that name."), False),
        ("not_found", ("Who is Zoe?", CALL, "Zoe lives in Oslo."), False),
        ("irrelevant", ("Tell me a joke.", "I only help with halls."), True),
        ("irrelevant", ("Tell me a joke.", CALL, "I only help with halls."), False),
        ("plain", UNASKED, True),
    ],
)
def test_conduct_is_decided_by_the_transcript(kind: str, turns: tuple[Any, ...], passes: bool) -> None:
    made = dialogue(kind, *turns)
    checks = list(conduct(made, 0, changes(made)))
    assert all(check.passed for check in checks) is passes, checks
    assert all(check.name.endswith("task 0") for check in checks)


@pytest.mark.parametrize(("answer", "passes"), [("I have no tool for that.", True), ("Sure, one moment!", False)])
def test_a_late_tool_must_have_been_missed(answer: str, passes: bool) -> None:
    made = dialogue("late_tool", "Set it.", answer, "It can be done now.", CALL, "It is set, not a problem.", late=3)
    assert [check.passed for check in conduct(made, 0, changes(made))] == [passes]


@pytest.mark.parametrize(("turns", "passes"), [(ASKED, True), (UNASKED, False), (ASKED_TOO_LATE, False)])
def test_only_the_tasks_own_messages_count(turns: tuple[Any, ...], passes: bool) -> None:
    earlier = ("Set Bob's phone.", "To which number?", "5550142.", CALL, "Done.")
    both = dialogue("incomplete", *earlier, *turns)
    start = len(dialogue("incomplete", *earlier).messages)
    made = both.model_copy(update={"tasks": both.tasks * 2, "task_starts": (1, start)})
    assert [check.passed for check in conduct(made, 0, changes(made))] == [True]
    assert [check.passed for check in conduct(made, 1, changes(made))] == [passes]


@pytest.mark.parametrize(("answer", "passes"), [("I have no tool for that.", True), ("Sure, one moment!", False)])
def test_saying_no_after_the_tool_is_offered_is_too_late(answer: str, passes: bool) -> None:
    start = len(dialogue("late_tool", *UNASKED).messages)
    late = ("Set it.", answer, "It can be done now.", CALL, "It is set. I have no tool for her address.")
    both = dialogue("late_tool", *UNASKED, *late, late=start + 2)
    made = both.model_copy(update={"tasks": both.tasks * 2, "task_starts": (1, start)})
    assert [check.passed for check in conduct(made, 1, changes(made))] == [passes]
