"""What an agent has to do besides calls, kind by kind: dialogues written by hand, right and wrong ones."""

from __future__ import annotations

from typing import Any

import pytest

from core.dialogue import Dialogue, PlannedCall
from core.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, ToolSpec, UserMessage
from core.policy import Policy, StaffRule
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
        ("forbidden", ("Set it.", CALL, CALL, "Our rules do not allow that."), False),  # changed, and changed back
        ("no_tool", ("Set it.", "Done! It is set to 5550142 now instead of 5550100."), False),
        (
            "incomplete",
            ("Set Ann's phone to 5550142.", "Shall I set it to 5550142?", "Yes, 5550142.", CALL, "Done."),
            False,
        ),
        ("withdrawn", ("Set Ann's phone.", "To which number?", "To 5550142.", "All right."), False),
        ("irrelevant", ("Tell me a joke.", "I only help with halls."), True),
        ("irrelevant", ("Tell me a joke.", CALL, "I only help with halls."), False),
        ("plain", UNASKED, True),
    ],
)
def test_conduct_is_decided_by_the_transcript(kind: str, turns: tuple[Any, ...], passes: bool) -> None:
    made = dialogue(kind, *turns)
    checks = list(conduct(made, 0, set() if kind == "not_found" else changes(made)))
    assert all(check.passed for check in checks) is passes, checks
    assert all(check.name.endswith("task 0") for check in checks)


@pytest.mark.parametrize(("name", "passes"), [("Zoe", True), ("zoe ", False), ("Ann", False)])
def test_what_does_not_exist_must_have_been_looked_for(name: str, passes: bool) -> None:
    made = dialogue("not_found", "Who is Zoe?", ("call", "find_owner"), "There is no one of that name.")
    call = ToolCall.make("c1", "find_owner", {"name": name})
    message = made.messages[2].model_copy(update={"tool_calls": (call,)})
    task = made.tasks[0].model_copy(update={"plan": (PlannedCall(tool="find_owner", arguments={"name": "Zoe"}),)})
    made = made.model_copy(update={"messages": (*made.messages[:2], message, *made.messages[3:]), "tasks": (task,)})
    looked = next(check for check in conduct(made, 0, set()) if check.name.startswith("looked"))
    assert looked.passed is passes


@pytest.mark.parametrize(("said", "passes"), [("To 5550100, please.", True), ("To a new one.", False)])
def test_a_first_wish_must_have_been_said(said: str, passes: bool) -> None:
    made = dialogue("changed", said, "Shall I?", "No, to 5550142.", CALL, "Done.")
    task = made.tasks[0].model_copy(update={"first_arguments": {"phone": "5550100"}})
    (check,) = conduct(made.model_copy(update={"tasks": (task,)}), 0, changes(made))
    assert (check.name, check.passed) == ("first wish in task 0", passes)


@pytest.mark.parametrize(("answer", "passes"), [("Please ring 555-0142.", True), ("It is being looked into.", False)])
def test_naming_the_staff_declines_what_only_they_do(answer: str, passes: bool) -> None:
    rule = StaffRule(
        rule_id="staff", text="Only the office sets phones, 555-0142.", tools=("set_phone",), contact="555-0142"
    )
    made = dialogue("forbidden", "Set it.", answer).model_copy(update={"policy": Policy(rules=(rule,))})
    task = made.tasks[0].model_copy(update={"rule_id": "staff"})
    declined = list(conduct(made.model_copy(update={"tasks": (task,)}), 0, set()))[-1]
    assert (declined.name, declined.passed) == ("declined in task 0", passes)


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
    assert all(check.passed for check in conduct(made, 0, changes(made)))
    assert all(check.passed for check in conduct(made, 1, changes(made))) is passes


@pytest.mark.parametrize(("answer", "passes"), [("I have no tool for that.", True), ("Sure, one moment!", False)])
def test_saying_no_after_the_tool_is_offered_is_too_late(answer: str, passes: bool) -> None:
    start = len(dialogue("late_tool", *UNASKED).messages)
    late = ("Set it.", answer, "It can be done now.", CALL, "It is set. I have no tool for her address.")
    both = dialogue("late_tool", *UNASKED, *late, late=start + 2)
    made = both.model_copy(update={"tasks": both.tasks * 2, "task_starts": (1, start)})
    assert [check.passed for check in conduct(made, 1, changes(made))] == [passes]
