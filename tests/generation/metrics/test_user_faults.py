"""Faults of simulated users: each rule finds its kind of fault, just beyond its limit, and only that."""

from __future__ import annotations

import pytest

from core.dialogue import Dialogue, PlannedCall, Rubric, Task
from generation.llm.contexts import UserRules
from generation.metrics.user_quality import dialogue_quality
from tests.generation.helpers.pipeline_runs import user_settings
from tests.generation.helpers.vet_dialogues import GOOD, SECOND, TASK, changed, talk

RULES = user_settings().rules


def faults(dialogue: Dialogue, rules: UserRules = RULES) -> list[tuple[str, int]]:
    return [(fault.kind, fault.position) for fault in dialogue_quality(dialogue, rules).faults]


def test_a_good_dialogue_has_no_fault() -> None:
    talk(*GOOD).check()
    quality = dialogue_quality(talk(*GOOD), RULES)
    assert quality.faults == ()
    assert quality.messages == 4
    assert quality.opening == "hi could you move visit 204 to march 14th"


# Premature ends.


@pytest.mark.parametrize(
    ("lines", "missing"),
    [
        ((*GOOD[:5], "U Thanks, bye."), "check-up"),
        (changed(2, "U My pet gets another name."), "Rex, Max"),
        (changed(0, "U Hi, please move visit 204."), "2025-03-14"),
        (changed(0, "U Hi, please move visit 2041 to March 14th?"), "204"),
        (changed(0, "U Hi, please move visit 204 to March 15th."), "2025-03-14"),
    ],
)
def test_leaving_before_giving_a_needed_value_is_premature(lines: tuple[str, ...], missing: str) -> None:
    (fault,) = (f for f in dialogue_quality(talk(*lines), RULES).faults if f.kind == "premature_ends")
    assert fault.detail == f"the user ended the task, but it never said {missing}"
    assert fault.position == len(talk(*lines).messages) - 1


@pytest.mark.parametrize(
    ("answer", "closing", "early"),
    [
        ("It costs 45.50. Which day suits you?", "Thanks, bye.", True),
        ("Shall I go ahead? This cannot be undone.", "Thanks, bye.", True),
        ("Shall I go ahead? It costs 45.50. It is quick.", "Thanks, bye.", False),
        ("Shall I book one?", "No, thanks.", False),
        ("Shall I book one?", "Thanks.", True),
        ("Is there anything else I can help you with?", "Thanks, bye.", False),
        ("Do you need further assistance?", "Thanks, bye.", False),
        ("Should I also book one?", "Thanks, bye.", False),
        ("It costs 45.50.", "Thanks, bye.", False),
    ],
)
def test_leaving_a_question_open_is_premature(answer: str, closing: str, early: bool) -> None:
    dialogue = talk(*GOOD[:6], f"A {answer}", f"U {closing}")
    assert faults(dialogue) == ([("premature_ends", 9)] if early else [])


def test_only_an_ended_task_can_be_premature() -> None:
    opening = GOOD[:2]
    assert faults(talk(*opening, stop="open")) == []
    assert faults(talk(*opening, stop="user: not done after 1 messages")) == []
    assert faults(talk(*opening, stop="complete")) == [("premature_ends", 2)]


def test_an_earlier_task_ends_where_the_next_starts() -> None:
    lines = (*GOOD[:5], "U Please cancel visit 350.", "A Done.", "U Bye.")
    assert faults(talk(*lines, tasks=(TASK, SECOND), starts=(1, 7))) == [("premature_ends", 6)]
    asked = (*GOOD[:6], "A 45.50. Which day?", "U Please cancel visit 350.", "A Done.", "U Bye.")
    assert faults(talk(*asked, tasks=(TASK, SECOND), starts=(1, 9))) == [("premature_ends", 8)]


def test_what_was_said_before_the_task_need_not_be_said_again() -> None:
    before = (
        *GOOD[:6],
        "A It costs 45.50; your other visit is number 350.",
        "U Then cancel that one.",
        "A Done.",
        "U Bye.",
    )
    assert faults(talk(*before, tasks=(TASK, SECOND), starts=(1, 9))) == []
    within = (*GOOD[:7], "U Cancel my other visit.", "A Number 350, that is. Done.", "U Bye.")
    assert faults(talk(*within, tasks=(TASK, SECOND), starts=(1, 9))) == [("premature_ends", 11)]


def test_long_texts_and_looked_up_values_need_not_be_said() -> None:
    note = "prefers to come early in the morning"
    task = SECOND.model_copy(
        update={
            "goal": f"The user wants a note on visit 350: {note}.",
            "plan": (PlannedCall(tool="search", arguments={"a": note, "b": "${0.id}", "c": 9}),),
        }
    )
    assert faults(talk("U A note on my visit, please.", "A Done.", "U Bye.", tasks=(task,))) == []


def test_a_task_with_only_gold_calls_is_checked_by_them() -> None:
    task = SECOND.model_copy(update={"plan": (), "gold_calls": SECOND.plan})
    assert faults(talk("U Cancel my visit.", "A Done.", "U Bye.", tasks=(task,))) == [("premature_ends", 3)]


# Leaked goals.


@pytest.mark.parametrize(
    ("text", "leaked"),
    [
        ("Please use rename_pet: Rex is Max.", True),
        ("Rex, with his pet_id, is Max.", True),
        ("Rex is Max; set newDay.", True),
        ("Rex is Max. is_task_complete: false", True),
        ("Rex is Max, that is my goal.", True),
        ("Rex is Max, my second sub-goal.", True),
        ("In this simulation Rex is Max.", True),
        ("The user wants Rex to be Max.", True),
        ("They also want to rename the pet Rex to Max.", True),
        ("Rename Rex to Max and search his name again.", False),
        ("I want to rename the pet Rex to Max.", False),
        ("The users' names Rex and Max have no_such_parameter.", False),
    ],
)
def test_using_names_that_only_the_harness_knows_leaks(text: str, leaked: bool) -> None:
    assert (("leaked_goals", 3) in faults(talk(*changed(2, f"U {text}")))) is leaked


def test_words_of_the_goal_and_the_assistant_are_allowed() -> None:
    task = SECOND.model_copy(update={"goal": "The user wants to cancel visit 350 and set a fitness goal."})
    lines = (
        "U Cancel visit 350.",
        "A Done, with pet_id 350.",
        "U My pet_id? And my fitness goals?",
        "A Set.",
        "U Bye.",
    )
    assert faults(talk(*lines, tasks=(task,))) == []
    assert faults(talk(*lines, tasks=(SECOND,))) == [("leaked_goals", 3)]
    silent = ("U Cancel visit 350.", "A Done.", *lines[2:])
    assert faults(talk(*silent, tasks=(task,))) == [("leaked_goals", 3)]


LONG = "change the booking so that all four of us travel together on the early ferry"


@pytest.mark.parametrize(("words", "leaked"), [(9, False), (10, True), (14, True)])
def test_reciting_long_parts_of_the_goal_leaks(words: int, leaked: bool) -> None:
    task = SECOND.model_copy(update={"goal": f"The user would {LONG}.", "subgoals": ("a ferry",), "plan": ()})
    recited = " ".join(LONG.split()[:words])
    dialogue = talk(f"U Could you {recited} somehow?", "A Done.", "U Bye.", tasks=(task,))
    assert faults(dialogue) == ([("leaked_goals", 1)] if leaked else [])
    everything = RULES.model_copy(update={"disclosure": "upfront", "max_subtasks_per_turn": None})
    assert faults(dialogue, everything) == [], "a user that may say everything at once"
    as_subgoal = task.model_copy(update={"subgoals": (LONG,)})
    assert faults(dialogue.model_copy(update={"tasks": (as_subgoal,)})) == [], "its own words for the subgoal"


@pytest.mark.parametrize(
    ("goal", "leaked"),
    [("I want to cancel visit 350.", False), ("I would like to cancel visit 350.", True), ("Cancel visit 350.", False)],
)
def test_a_sentence_that_is_only_a_wish_is_allowed_but_its_frame_leaks(goal: str, leaked: bool) -> None:
    task = SECOND.model_copy(update={"goal": goal})
    assert faults(talk(f"U Hello! {goal}", "A Done.", "U Bye.", tasks=(task,))) == (
        [("leaked_goals", 1)] if leaked else []
    )


# Invented facts.


@pytest.mark.parametrize(
    ("text", "invented"),
    [
        ("Rex is Max. He weighs 31 kilos.", ["31"]),
        ("Rex is Max. My number is C-19.", ["C-19"]),
        ("Rex is Max. Write to rex@max.org on 5 May at 7 pm.", ["rex@max.org", "5 May", "7 pm"]),
        ("Rex is Max. His number is 77, or 78.", ["77", "78"]),
        ("Rex is Max. On the 14th of March 2025, at half past ten or 10:30, visit 204.", []),
        ("1. Rex is Max.", []),
    ],
)
def test_stating_a_value_never_read_is_an_invention(text: str, invented: list[str]) -> None:
    inventions = [
        f for f in dialogue_quality(talk(*changed(2, f"U {text}")), RULES).faults if f.kind == "invented_facts"
    ]
    assert [(f.position, f.detail) for f in inventions] == (
        [(3, f"the user cannot know {', '.join(invented)}")] if invented else []
    )


def test_tool_results_and_text_next_to_a_call_are_not_read_by_the_user() -> None:
    lines = changed(5, "U And a check-up for number 77, or 78?")
    assert faults(talk(*lines)) == [("invented_facts", 7)]
    assert "77, 78" in dialogue_quality(talk(*lines), RULES).faults[0].detail


def test_an_invention_counts_once_and_only_before_it_is_read() -> None:
    twice = (*GOOD[:6], "A It costs 45.50.", "U For 31 kilos?", "A Yes.", "U 31 kilos, fine.")
    assert faults(talk(*twice)) == [("invented_facts", 9)]
    heard = (*GOOD[:6], "A It costs 45.50 up to 31 kilos.", "U For 31 kilos?", "A Yes.", "U Fine.")
    assert faults(talk(*heard)) == []


def test_the_persona_is_known_and_a_later_goal_only_later() -> None:
    lines = (*changed(2, "U Rex is Max. Later visit 350.")[:6], "A 45.50.", "U Cancel visit 350.", "A Done.", "U Bye.")
    assert faults(talk(*lines, tasks=(TASK, SECOND), starts=(1, 9))) == [("invented_facts", 3)]
    persona = {"persona": "old: is 350 years old; expertise: novice"}
    assert faults(talk(*lines, tasks=(TASK, SECOND), starts=(1, 9), provenance=persona)) == []


# Crowded messages.


@pytest.mark.parametrize(
    ("limit", "first", "crowded"),
    [
        (2, "Move visit 204 to 2025-03-14 and my dog Rex is called Max. The price of a check-up?", True),
        (2, "Move visit 204 to 14 March and rename the pet Rex to Max.", False),
        (1, "Move visit 204 to 14 March and rename the pet Rex to Max.", True),
        (1, "I want to move visit 204 to 2025-03-14.", False),
        (1, "Move visit 204 to 14 March. It is about Rex.", False),
        (3, "Move visit 204 to 2025-03-14 and my dog Rex is called Max. The price of a check-up?", False),
        (None, "Move visit 204 to 2025-03-14 and my dog Rex is called Max. The price of a check-up?", False),
    ],
)
def test_requesting_more_than_the_rule_allows_is_crowded(limit: int | None, first: str, crowded: bool) -> None:
    rules = RULES.model_copy(update={"max_subtasks_per_turn": limit})
    assert (("crowded_messages", 1) in faults(talk(*changed(0, f"U {first}")), rules)) is crowded


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


# Repeated messages.


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


# What is not checked.


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
