"""Faults of single user messages: crowded and repeated ones, and messages that came from elsewhere."""

from __future__ import annotations

import pytest

from core.dialogue import PlannedCall, Rubric, Task
from generation.metrics.user_quality import dialogue_quality
from tests.generation.helpers.user_faults import RULES, faults
from tests.generation.helpers.vet_dialogues import GOOD, SECOND, TASK, changed, talk


def test_only_what_is_newly_voiced_counts() -> None:
    lines = (
        *GOOD[:3],
        *GOOD[4:6],
        "A Well.",
        "U Again: visit 204 to 14 March, Rex is Max, and a check-up?",
        "A Yes.",
        "U Bye.",
    )
    assert faults(talk(*lines), RULES.model_copy(update={"max_subtasks_per_turn": 1})) == []
    one = RULES.model_copy(update={"max_subtasks_per_turn": 1})
    later = ("U Visit 204, Rex, check-up.", "A Yes?", "U Make it 14 March and Max.", "A Done.", "U Bye.")
    assert faults(talk(*later), one) == [("crowded_messages", 3)]


def test_a_value_that_two_subtasks_share_voices_neither() -> None:
    both = Task(
        task_id="t",
        goal="The user wants to see pet 7 and to feed pet 7.",
        subgoals=("see pet 7", "feed pet 7"),
        difficulty="easy",
        rubric=Rubric(criteria=()),
        plan=tuple(PlannedCall(tool="search", arguments={"query": 7}, subgoal=i) for i in range(2)),
    )
    one = RULES.model_copy(update={"max_subtasks_per_turn": 1})
    assert faults(talk("U It is about pet 7.", "A Yes.", "U Bye.", tasks=(both,)), one) == []
    assert faults(talk("U I'd like to see pet 7 and feed pet 7.", "A Yes.", "U Bye.", tasks=(both,)), one) == [
        ("crowded_messages", 1)
    ]


@pytest.mark.parametrize(
    ("first", "again", "answers", "repeats"),
    [
        ("Could you please look once more?", "could you PLEASE look once more", ("No.", "Well."), True),
        ("Could you please look once more?", "Could you please look twice more?", ("No.", "Well."), False),
        ("Yes, please go ahead.", "Yes, please go ahead.", ("Move it?", "Rename it?"), False),
        ("Yes, please go ahead.", "Yes, please go ahead!", ("Move it?", "Move it?"), True),
        ("Yes, now please go ahead.", "Yes, now please go ahead.", ("Move it?", "Rename it?"), True),
    ],
)
def test_saying_the_same_again_is_a_repetition(first: str, again: str, answers: tuple[str, str], repeats: bool) -> None:
    lines = (*GOOD[:6], f"A {answers[0]}", f"U {first}", f"A {answers[1]}", f"U {again}", "A Yes.", "U Bye.")
    assert faults(talk(*lines)) == ([("repeated_messages", 11)] if repeats else [])


def test_imported_messages_are_known_but_not_checked() -> None:
    spoilt = ("U The user wants C-19 and 31.", "A Well, 77.", "U The user wants C-19 and 31.", "A Yes.")
    assert len(faults(talk(*spoilt, *GOOD, starts=(5,), given=5))) == 0
    assert faults(talk(*spoilt, *changed(2, "U Rex is Max, C-19, 31, 77."), starts=(5,), given=5)) == []
    assert {kind for kind, _ in faults(talk(*spoilt, *GOOD, starts=(1,), given=0))} > {
        "leaked_goals",
        "invented_facts",
    }


def test_a_half_played_imported_task_is_checked_from_there_on() -> None:
    lines = changed(0, "U Move visit 204 to 2025-03-14, Rex is Max, and the price of a check-up? I am 31.")
    assert faults(talk(*lines)) == [("invented_facts", 1), ("crowded_messages", 1)]
    assert faults(talk(*lines, given=3)) == []
    assert dialogue_quality(talk(*lines, given=3), RULES).messages == 3
    again = (*lines[:2], "U So visit 204 to 2025-03-14, Rex is Max, and the price of a check-up, right?", *lines[4:])
    assert faults(talk(*again, given=3)) == []


def test_unplayed_tasks_are_skipped() -> None:
    assert faults(talk(*GOOD, tasks=(TASK, SECOND), starts=(1,))) == []
