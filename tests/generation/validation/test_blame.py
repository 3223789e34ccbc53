"""Who is to blame, case by case."""

from __future__ import annotations

from typing import Any

import pytest

from core.dialogue import Check, Dialogue, Judgment, PlannedCall, Rubric, Task
from core.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, UserMessage
from generation.validation.blame import blame, unvoiced

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
                "notes": ["", "late"],
            },
        ),
    ),
    gold_calls=(
        PlannedCall(tool="search_guests", arguments={"name": "Ada Moreno"}),
        PlannedCall(tool="update_booking", arguments={"guest_id": 7, "day": "2025-03-14", "people": 2, "paid": True}),
    ),
)
ASK = "Please move Ada Moreno's booking to 2025-03-14, 2 people."


def dialogue(*parts: list[Message], stop: str = "complete", task: Task = BOOK) -> Dialogue:
    """One task a part."""
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


def said(*texts: str) -> list[Message]:
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
    return [Check(name="finished", passed="finished" not in names)] + [Check(name=n, passed=False) for n in names]


@pytest.mark.parametrize(
    ("stop", "who"),
    [
        ("user: not done after 12 messages", "user"),
        ("replay: the given calls do not return here what they returned there", "tool"),
        ("agent: no answer after 8 rounds of tool use", "agent"),
        ("tool_simulator: nothing usable in 3 attempts: agent: x", "tool"),
        ("task_writer: nothing usable", "task"),
        ("open", None),
    ],
)
def test_whoever_stopped_it(stop: str, who: str | None) -> None:
    assert blame(dialogue(said(ASK), stop=stop), failing("finished"), [], True) == who


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
def test_by_the_check_that_failed_where_the_user_said_everything(names: list[str], who: str | None) -> None:
    assert blame(dialogue(said(ASK)), failing(*names), [], True) == who


@pytest.mark.parametrize("check", ["state of task 0", "told in task 0"])
@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (["Please move a booking.", "Thanks."], ("Ada Moreno", "2025-03-14", "2")),
        (["Please move Ada Moreno's booking."], ("2025-03-14", "2")),
        (["Please move Ada Moreno's booking to 2025-03-15, 2 people."], ("2025-03-14",)),
        (["Please move ADA  MORENO's booking", "to 2025-03-14.", "2, please"], ()),
        (["Please move the booking of Ada Morenos to 2025-03-14 for 22"], ("Ada Moreno", "2")),
    ],
)
def test_the_user_is_to_blame_for_what_it_never_said(check: str, words: list[str], missing: tuple[str, ...]) -> None:
    case = dialogue(said(*words))
    assert unvoiced(case, 0) == missing
    assert blame(case, failing(check), [], True) == ("user" if missing else "agent")


def test_what_the_agent_called_with_was_understood_however_it_was_said() -> None:
    right = dialogue(called(guest_id=8, day="2025-03-14", people=2))
    assert unvoiced(right, 0) == ()
    assert unvoiced(dialogue(called(guest_id=8, day="2025-03-14", people=3)), 0) == ("2",)
    assert blame(right, failing("state of task 0"), [], True) == "agent"


def test_what_is_not_in_the_goal_is_not_the_users_to_say() -> None:
    """Identifiers that are looked up stand in gold calls only; so do notes that the goal does not have."""
    only_gold = BOOK.model_copy(update={"plan": ()})
    assert unvoiced(dialogue(said(ASK), task=only_gold), 0) == ()
    assert unvoiced(dialogue(said("Hello"), task=only_gold), 0) == ("Ada Moreno", "2025-03-14", "2")


def test_the_tools_are_to_blame_for_refusing_the_right_call() -> None:
    """Some of the booking's details were never said, but that is not why it failed."""
    look = PlannedCall(tool="search_guests", arguments={"name": "Ada Moreno"})
    move = BOOK.gold_calls[1]
    task = BOOK.model_copy(update={"goal": f"{BOOK.goal} They also want tea.", "gold_calls": (look, move)})

    def attempt(name: str, result: str, call: PlannedCall = move, **changes: Any) -> list[Message]:
        made = ToolCall.make(name, call.tool, call.arguments | changes)
        return [AssistantMessage(tool_calls=(made,)), ToolMessage(tool_call_id=name, content=result)]

    ask = [UserMessage(content="Move Ada Moreno's booking.")]
    found, error = attempt("a", '[{"guest_id": 7}]', look), '{"error": "permission denied"}'
    cases = {
        "refused": (ask + found + attempt("b", error), "tool"),
        "refused twice": (ask + found + attempt("b", error) + attempt("c", error), "tool"),
        "refused at first": (ask + found + attempt("b", error) + attempt("c", '{"rows_affected": 1}'), "agent"),
        "refused for another argument": (ask + found + attempt("b", error, people=3), "user"),
        "made before the call that it needs": (ask + attempt("b", error), "agent"),
        "search refused": (ask + attempt("a", error, look), "tool"),
        # Found, but without the number that the change needs: only the tools could give it.
        "kept back": ([UserMessage(content=ASK), *attempt("a", '[{"name": "Ada Moreno"}]', look)], "tool"),
        "given, not used": ([UserMessage(content=ASK), *found], "agent"),
    }
    for name, (messages, who) in cases.items():
        played = dialogue([*messages, AssistantMessage(content="Well.")], task=task)
        assert blame(played, failing("state of task 0"), [], True) == who, name


@pytest.mark.parametrize(("shown", "who"), [('[{"guest_id": 7, "room": 12}]', "agent"), ('[{"guest_id": 7}]', "tool")])
def test_the_tools_are_to_blame_for_what_no_result_showed(shown: str, who: str) -> None:
    look = PlannedCall(tool="search_guests", arguments={"name": "Ada Moreno"})
    task = BOOK.model_copy(update={"plan": (look,), "gold_calls": (look,), "told_values": ("12",)})
    messages = [
        UserMessage(content="Which room does Ada Moreno have?"),
        AssistantMessage(tool_calls=(ToolCall.make("a", look.tool, look.arguments),)),
        ToolMessage(tool_call_id="a", content=shown),
        AssistantMessage(content="I cannot say."),
    ]
    assert blame(dialogue(messages, task=task), failing("told in task 0"), [], True) == who


def test_truth_values_and_looked_up_values_are_not_the_users_to_say() -> None:
    """The goal holds the word "true" and the number 7 of the guest by chance."""
    chance = BOOK.model_copy(update={"goal": f"{BOOK.goal} It is true that they stay in room 7."})
    assert unvoiced(dialogue(said(ASK), task=chance), 0) == ()
    assert unvoiced(dialogue(said(ASK), task=chance.model_copy(update={"plan": ()})), 0) == ("7",)


def test_only_the_tasks_own_part_counts_and_the_first_failure_decides() -> None:
    case = dialogue(said("Something else."), said(ASK))
    assert blame(case, failing("state of task 1"), [], True) == "agent"
    assert blame(case, failing("state of task 1", "told in task 0"), [], True) == "user"
    swapped = dialogue(said(ASK), said("Something else."))
    assert blame(swapped, failing("told in task 0", "state of task 1"), [], True) == "agent"
    assert blame(swapped, failing("state of task 1"), [], True) == "user"


def judgment(word: str, who: Any = None) -> Judgment:
    return Judgment(judgment="valid" if word == "valid" else "invalid", reasoning="", blame=who)


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
def test_where_nothing_is_executed_most_judgments_decide(judgments: list[Judgment], who: str | None) -> None:
    case = dialogue(*[said(ASK)] * len(judgments))
    assert blame(case, failing(), judgments, False) == who
    assert blame(case, failing(), judgments, True) is None, "execution proved every task: the judge has no say"


def test_beside_execution_the_judge_decides_of_tasks_without_proof() -> None:
    case = dialogue(said(ASK), said(ASK))
    unproven = BOOK.model_copy(update={"gold_calls": ()})
    mixed = case.model_copy(update={"tasks": (BOOK, unproven)})
    assert blame(mixed, failing(), [judgment("invalid", "user"), judgment("invalid", "tool")], True) == "tool"
    assert blame(mixed, failing(), [judgment("invalid", "user"), judgment("valid")], True) is None
