"""Blame by the rules, case by case."""

from __future__ import annotations

from typing import Any

import pytest

from core.dialogue import PlannedCall
from core.messages import (
    AssistantMessage,
    Message,
    ToolCall,
    ToolMessage,
    ToolSpec,
    UserMessage,
)
from generation.validation.blame import blame, changed_more, kept_back, left_early, ungrounded, unvoiced
from generation.validation.validate import rejections
from tests.generation.helpers.failed_dialogues import ASK, BOOK, MOVE, called, dialogue, exchange, failing, judgment


@pytest.mark.parametrize(
    ("stop", "who"),
    [
        ("user: plays the assistant", "user"),
        ("replay: the given calls do not return here what they returned there", "tool"),
        ("agent: no answer after 8 rounds of tool use", "agent"),
        ("tool_simulator: nothing usable in 3 attempts: agent: x", "tool"),
        ("task_writer: nothing usable", "task"),
        ("open", None),
    ],
)
def test_the_role_that_stopped_the_dialogue_is_to_blame(stop: str, who: str | None) -> None:
    assert blame(dialogue(exchange(ASK), stop=stop), failing("finished"), {}) == who


@pytest.mark.parametrize(
    ("names", "who"),
    [
        (["contract"], "agent"),
        (["replay"], "tool"),
        (["state of task 0", "replay"], "tool"),
        (["state of task 0"], "agent"),
        (["told in task 0"], "agent"),
        (["some other check"], "agent"),
        ([], None),
    ],
)
def test_the_failed_check_decides_if_the_user_gave_every_value(names: list[str], who: str | None) -> None:
    assert blame(dialogue(exchange(ASK)), failing(*names), {}) == who


@pytest.mark.parametrize("check", ["state of task 0", "told in task 0"])
@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (["Please move a booking.", "Thanks."], ("Ada Moreno", "2025-03-14", "2")),
        (["Please move Ada Moreno's booking."], ("2025-03-14", "2")),
        (["Please move Ada Moreno's booking to 2025-03-15, 2 people."], ("2025-03-14",)),
        (["Please move ADA  MORENO's booking", "to 2025-03-14.", "2, please"], ()),
        (["Please move the booking of Ada Morenos to 2025-03-14 for 22"], ("Ada Moreno", "2")),
        (["Ada\u202fMoreno, please, on March\u202f14, 2025, for two"], ()),
    ],
)
def test_the_user_is_to_blame_for_values_it_never_gave(check: str, words: list[str], missing: tuple[str, ...]) -> None:
    case = dialogue(exchange(*words))
    assert unvoiced(case, 0) == missing
    assert blame(case, failing(check), {}) == ("user" if missing else "agent")


def test_a_value_that_the_agent_called_with_counts_as_voiced() -> None:
    right = dialogue(called(guest_id=8, day="2025-03-14", people=2))
    assert unvoiced(right, 0) == ()
    assert unvoiced(dialogue(called(guest_id=8, day="2025-03-14", people=3)), 0) == ("2",)
    assert blame(right, failing("state of task 0"), {}) == "agent"


@pytest.mark.parametrize(
    ("messages", "who"),
    [
        (["Please move Ada Moreno's booking.", "I give up."], "agent"),  # it could have searched for her
        (["Please move a booking.", "I give up."], "user"),
        (["Please move Ada Moreno's booking."], "user"),
    ],
)
def test_a_user_that_was_never_helped_need_not_have_told_the_rest(messages: list[str], who: str) -> None:
    case = dialogue(exchange(*messages))
    assert unvoiced(case, 0)
    assert bool(kept_back(case, 0)) is (who == "user")
    assert blame(case, failing("state of task 0"), {}) == who


@pytest.mark.parametrize("told", ["The dentist is free at 9.", "The dentist is free."])
def test_what_the_agent_saw_and_did_not_tell_comes_before_what_the_user_kept_back(told: str) -> None:
    task = BOOK.model_copy(update={"plan": BOOK.plan[:1], "gold_calls": BOOK.gold_calls[:1], "told_values": ("9",)})
    task = task.model_copy(update={"goal": f"{task.goal} It also wants to know about Bo Lee."})
    second = PlannedCall(tool="search_guests", arguments={"name": "Bo Lee"})
    task = task.model_copy(update={"plan": (*task.plan, second), "gold_calls": (*task.gold_calls, second)})
    call = ToolCall.make("c", "search_guests", {"name": "Ada Moreno"})
    part = [
        UserMessage(content="Ada Moreno, please."),
        AssistantMessage(tool_calls=(call,)),
        ToolMessage(tool_call_id="c", content='{"hour": 9}'),
        AssistantMessage(content=told),
        UserMessage(content="Well, goodbye."),
    ]
    assert kept_back(dialogue(part, task=task), 0) == (("Bo Lee",) if "9" in told else ())


@pytest.mark.parametrize(
    ("answer", "left"),
    [("Shall I move it to 14 March, yes or no?", True), ("Done. Anything else?", False), ("It is done.", False)],
)
def test_a_user_that_leaves_a_question_open_is_to_blame(answer: str, left: bool) -> None:
    case = dialogue([UserMessage(content=ASK), AssistantMessage(content=answer), UserMessage(content="Bye.")])
    assert left_early(case, 0) is left
    assert blame(case, failing("state of task 0"), {}) == ("user" if left else "agent")


def test_an_agent_that_changed_more_than_asked_is_to_blame_whatever_followed() -> None:
    """The gold call is refused, but only after another one has changed the state."""
    extra, gold = (
        ToolCall.make(name, "update_booking", {"guest_id": number, **MOVE}) for name, number in (("a", 8), ("b", 7))
    )
    search = ToolCall.make("s", "search_guests", {"name": "Ada Moreno"})
    part: list[Message] = [
        UserMessage(content=ASK),
        AssistantMessage(tool_calls=(search, extra, gold)),
        ToolMessage(tool_call_id="s", content='{"guest_id": 7}'),
        ToolMessage(tool_call_id="a", content="{}"),
        ToolMessage(tool_call_id="b", content='{"error": "no"}'),
        AssistantMessage(content="It is taken."),
    ]
    tools = tuple(
        ToolSpec(name=name, description="d", parameters={"type": "object"})
        for name in ("update_booking", "search_guests")
    )
    case = dialogue(part).model_copy(update={"tools": tools})
    failed = failing("state of task 0")
    assert blame(case, failed, {}) == "tool"
    assert blame(case, failed, {}, {(2, "a")}) == "agent"
    assert changed_more(case, 0, {(2, "a")}).startswith("update_booking(")
    assert changed_more(case, 0, {(2, "b")}) == "", "the gold call itself"


def test_the_user_need_not_give_values_missing_from_the_goal() -> None:
    """Only gold calls contain looked-up identifiers, which the goal does not mention."""
    only_gold = BOOK.model_copy(update={"plan": ()})
    assert unvoiced(dialogue(exchange(ASK), task=only_gold), 0) == ()
    assert unvoiced(dialogue(exchange("Hello"), task=only_gold), 0) == ("Ada Moreno", "2025-03-14", "2")


def test_the_tools_are_to_blame_for_refusing_the_gold_call() -> None:
    """The user never gave some of the details, but that is not why it failed."""
    look = PlannedCall(tool="search_guests", arguments={"name": "Ada Moreno"})
    move = BOOK.gold_calls[1]
    task = BOOK.model_copy(update={"goal": f"{BOOK.goal} They also want tea.", "gold_calls": (look, move)})

    def attempt(name: str, result: str, call: PlannedCall = move, **changes: Any) -> list[Message]:
        changed_call = ToolCall.make(name, call.tool, call.arguments | changes)
        return [AssistantMessage(tool_calls=(changed_call,)), ToolMessage(tool_call_id=name, content=result)]

    ask = [UserMessage(content="Move Ada Moreno's booking.")]
    found, error = attempt("a", '[{"guest_id": 7}]', look), '{"error": "permission denied"}'
    cases = {
        "refused": (ask + found + attempt("b", error), "tool"),
        "refused twice": (ask + found + attempt("b", error) + attempt("c", error), "tool"),
        "refused at first": (ask + found + attempt("b", error) + attempt("c", '{"rows_affected": 1}'), "agent"),
        "refused, typographically": (ask + found + attempt("b", error, day="2025\u201103\u201114"), "tool"),
        "refused for another argument": (ask + found + attempt("b", error, people=3), "user"),
        "called before the call that it needs": (ask + attempt("b", error), "agent"),
        "search refused": (ask + attempt("a", error, look), "tool"),
        # Found, but without the number that the change needs: only the tools could give it.
        "withheld": ([UserMessage(content=ASK), *attempt("a", '[{"name": "Ada Moreno"}]', look)], "tool"),
        "given, not used": ([UserMessage(content=ASK), *found], "agent"),
    }
    for name, (messages, who) in cases.items():
        played = dialogue([*messages, AssistantMessage(content="Well.")], task=task)
        assert blame(played, failing("state of task 0"), {}) == who, name


@pytest.mark.parametrize(("shown", "who"), [('[{"guest_id": 7, "room": 12}]', "agent"), ('[{"guest_id": 7}]', "tool")])
def test_the_tools_are_to_blame_for_values_that_no_result_shows(shown: str, who: str) -> None:
    look = PlannedCall(tool="search_guests", arguments={"name": "Ada Moreno"})
    task = BOOK.model_copy(update={"plan": (look,), "gold_calls": (look,), "told_values": ("12",)})
    messages = [
        UserMessage(content="Which room does Ada Moreno have?"),
        AssistantMessage(tool_calls=(ToolCall.make("a", look.tool, look.arguments),)),
        ToolMessage(tool_call_id="a", content=shown),
        AssistantMessage(content="I cannot say."),
    ]
    assert blame(dialogue(messages, task=task), failing("told in task 0"), {}) == who


NOT_SAID = BOOK.model_copy(update={"goal": "The user wants to move the booking of Ada Moreno for 2 people."})


@pytest.mark.parametrize("check", ["state of task 0", "told in task 0"])
def test_the_task_is_to_blame_for_values_that_are_nowhere_to_be_had(check: str) -> None:
    """Its plan needs 2025-03-14, which neither the goal nor any result gives."""
    played = dialogue(exchange("Please move Ada Moreno's booking, we are 2 people."), task=NOT_SAID)
    assert ungrounded(played, 0) == ("2025-03-14",)
    assert blame(played, failing(check), {}) == "task"
    known = dialogue(exchange("Please move Ada Moreno's booking, we are 2, to March 14, 2025."), task=NOT_SAID)
    assert ungrounded(known, 0) == ()
    assert blame(known, failing(check), {}) == "agent"
    found = dialogue(called(guest_id=7, day="2025-03-14", people=3), task=NOT_SAID)
    assert ungrounded(found, 0) == (), "the agent got it from somewhere"


def test_an_ungrounded_task_is_to_blame_whatever_the_judge_says() -> None:
    unproven = NOT_SAID.model_copy(update={"gold_calls": ()})
    played = dialogue(exchange("Please move Ada Moreno's booking."), task=unproven)
    assert blame(played, failing(), rejections(played, [judgment("invalid", "agent")], False, "off")) == "task"
    assert blame(played, failing(), rejections(played, [judgment("valid")], False, "off")) is None


def test_the_user_need_not_give_booleans_and_looked_up_values() -> None:
    """By coincidence the goal contains the word "true" and the guest's number 7."""
    coincidence = BOOK.model_copy(update={"goal": f"{BOOK.goal} It is true that they stay in room 7."})
    assert unvoiced(dialogue(exchange(ASK), task=coincidence), 0) == ()
    assert unvoiced(dialogue(exchange(ASK), task=coincidence.model_copy(update={"plan": ()})), 0) == ("7",)


def test_only_the_tasks_own_part_counts_and_the_first_failure_decides() -> None:
    case = dialogue(exchange("Something else."), exchange(ASK))
    assert blame(case, failing("state of task 1"), {}) == "agent"
    assert blame(case, failing("state of task 1", "told in task 0"), {}) == "user"
    swapped = dialogue(exchange(ASK), exchange("Something else."))
    assert blame(swapped, failing("told in task 0", "state of task 1"), {}) == "agent"
    assert blame(swapped, failing("state of task 1"), {}) == "user"
