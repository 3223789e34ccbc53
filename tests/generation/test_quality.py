"""The quality gate: each figure catches the fault that it is named after, on both sides of its line, and leaves the rest alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rollouts import Played, quality_settings, user_settings

from core.dialogue import Dialogue, PlannedCall, Rubric, Task
from core.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, ToolSpec, UserMessage
from generation.faults import Figure
from generation.llm.base import UserRules
from generation.quality import FIGURES, Quality, QualitySettings, QualityTally, dialogue_quality

RULES = user_settings().rules
SETTINGS = QualitySettings(
    premature_ends=0.25,
    leaked_goals=0.25,
    invented_facts=0.25,
    crowded_messages=0.25,
    repeated_messages=0.25,
    distinct_openings=0.5,
)
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
    """U is said by the user, A by the assistant; T is what a tool returns, which the user does not see."""
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


def faults(dialogue: Dialogue, rules: UserRules = RULES) -> list[tuple[str, int]]:
    return [(fault.figure, fault.position) for fault in dialogue_quality(dialogue, rules).faults]


def changed(position: int, text: str) -> tuple[str, ...]:
    """The good dialogue with another line there."""
    return (*GOOD[:position], text, *GOOD[position + 1 :])


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
def test_who_leaves_before_saying_what_it_needs_ends_too_early(lines: tuple[str, ...], missing: str) -> None:
    (fault,) = (f for f in dialogue_quality(talk(*lines), RULES).faults if f.figure == "premature_ends")
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
def test_who_leaves_a_question_open_ends_too_early(answer: str, closing: str, early: bool) -> None:
    dialogue = talk(*GOOD[:6], f"A {answer}", f"U {closing}")
    assert faults(dialogue) == ([("premature_ends", 9)] if early else [])


def test_only_an_end_can_come_too_early() -> None:
    begun = GOOD[:2]
    assert faults(talk(*begun, stop="open")) == []
    assert faults(talk(*begun, stop="user: not done after 1 messages")) == []
    assert faults(talk(*begun, stop="complete")) == [("premature_ends", 2)]


def test_an_earlier_task_ends_where_the_next_begins() -> None:
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
def test_who_says_what_only_the_machinery_knows_leaks(text: str, leaked: bool) -> None:
    assert (("leaked_goals", 3) in faults(talk(*changed(2, f"U {text}")))) is leaked


def test_words_of_the_goal_and_of_the_assistant_are_free() -> None:
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
def test_who_recites_long_parts_of_the_goal_leaks(words: int, leaked: bool) -> None:
    task = SECOND.model_copy(update={"goal": f"The user would {LONG}.", "subgoals": ("a ferry",), "plan": ()})
    recited = " ".join(LONG.split()[:words])
    dialogue = talk(f"U Could you {recited} somehow?", "A Done.", "U Bye.", tasks=(task,))
    assert faults(dialogue) == ([("leaked_goals", 1)] if leaked else [])
    everything = RULES.model_copy(update={"disclosure": "upfront", "max_subtasks_per_turn": None})
    assert faults(dialogue, everything) == [], "who is to say everything at once"
    as_subgoal = task.model_copy(update={"subgoals": (LONG,)})
    assert faults(dialogue.model_copy(update={"tasks": (as_subgoal,)})) == [], "its own words for the subgoal"


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
def test_who_states_what_it_was_never_told_invents(text: str, invented: list[str]) -> None:
    found = [f for f in dialogue_quality(talk(*changed(2, f"U {text}")), RULES).faults if f.figure == "invented_facts"]
    assert [(f.position, f.detail) for f in found] == (
        [(3, f"the user cannot know {', '.join(invented)}")] if invented else []
    )


def test_an_invention_counts_once_and_only_before_it_is_heard() -> None:
    twice = (*GOOD[:6], "A It costs 45.50.", "U For 31 kilos?", "A Yes.", "U 31 kilos, fine.")
    assert faults(talk(*twice)) == [("invented_facts", 9)]
    heard = (*GOOD[:6], "A It costs 45.50 up to 31 kilos.", "U For 31 kilos?", "A Yes.", "U Fine.")
    assert faults(talk(*heard)) == []


def test_a_later_goal_and_the_persona_are_known_when_they_are() -> None:
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
def test_who_asks_for_more_than_the_rule_allows_crowds(limit: int | None, first: str, crowded: bool) -> None:
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
def test_who_says_the_same_again_repeats(first: str, again: str, answers: tuple[str, str], repeats: bool) -> None:
    lines = (*GOOD[:6], f"A {answers[0]}", f"U {first}", f"A {answers[1]}", f"U {again}", "A Yes.", "U Bye.")
    assert faults(talk(*lines)) == ([("repeated_messages", 11)] if repeats else [])


# What is not judged.


def test_given_messages_are_not_judged_but_known() -> None:
    spoilt = ("U The user wants C-19 and 31.", "A Well, 77.", "U The user wants C-19 and 31.", "A Yes.")
    assert len(faults(talk(*spoilt, *GOOD, starts=(5,), given=5))) == 0
    assert faults(talk(*spoilt, *changed(2, "U Rex is Max, C-19, 31, 77."), starts=(5,), given=5)) == []
    assert {figure for figure, _ in faults(talk(*spoilt, *GOOD, starts=(1,), given=0))} > {
        "leaked_goals",
        "invented_facts",
    }


def test_a_task_that_was_given_half_played_is_judged_from_there_on() -> None:
    lines = changed(0, "U Move visit 204 to 2025-03-14, Rex is Max, and the price of a check-up? I am 31.")
    assert faults(talk(*lines)) == [("invented_facts", 1), ("crowded_messages", 1)]
    assert faults(talk(*lines, given=3)) == []
    assert dialogue_quality(talk(*lines, given=3), RULES).messages == 3


def test_tasks_that_were_not_played_are_left_out() -> None:
    assert faults(talk(*GOOD, tasks=(TASK, SECOND), starts=(1,))) == []


# The dataset.

SPOILT: dict[Figure, tuple[str, ...]] = {
    "premature_ends": (*GOOD[:5], "U Thanks, bye."),
    "leaked_goals": changed(2, "U My goal is that Rex is Max."),
    "invented_facts": changed(2, "U Rex is Max, and 31 kilos."),
    "crowded_messages": changed(0, "U Visit 204 to 14 March, Rex is Max, the price of a check-up?"),
    "repeated_messages": (*GOOD[:2], *GOOD[:2], *GOOD[2:]),
}


def judged(dialogues: Sequence[Dialogue], limits: QualitySettings = SETTINGS) -> Quality:
    tally = QualityTally(RULES)
    for dialogue in dialogues:
        tally.add(dialogue)
    return tally.result(limits)


def numbered(*sets: tuple[str, ...]) -> list[Dialogue]:
    """Dialogues that open differently, each in the words given."""
    return [talk(f"{lines[0]} {'x' * i}", *lines[1:], dialogue_id=f"d{i}") for i, lines in enumerate(sets)]


def test_every_figure_has_its_planted_fault() -> None:
    assert (
        set(SPOILT)
        == set(FIGURES)
        == set(get_args(Figure))
        == QualitySettings.model_fields.keys() - {"distinct_openings"}
    )


@pytest.mark.parametrize("figure", FIGURES)
def test_the_gate_opens_up_to_its_threshold_and_not_beyond(figure: Figure) -> None:
    fault = (
        (f"U {SPOILT[figure][2].partition(' ')[2]}", *SPOILT[figure][1:])
        if figure == "repeated_messages"
        else SPOILT[figure]
    )
    spoilt = [talk(*fault, dialogue_id=f"s{i}") for i in range(2)]
    good = numbered(*[GOOD] * 6)
    below = judged([*good, *spoilt])
    assert below.shares == {f: 0.25 if f == figure else 0.0 for f in FIGURES}
    assert below.counts[figure] == 2
    assert below.examples[figure].dialogue_id == "s0"
    assert below.passed
    above = judged([*good[:5], *spoilt])
    assert not above.passed
    (failure,) = above.failures
    assert failure.startswith(f"{figure} in 28.6% of the dialogues, at most 25.0% allowed (s0, message ")


def test_openings_that_are_all_alike_fail() -> None:
    assert judged(numbered(*[GOOD] * 4)).distinct_openings == 1.0
    same = [talk(f"{GOOD[0]}{'!' * i}", *GOOD[1:]) for i in range(4)]
    assert judged([*same, *numbered(*[GOOD] * 3)[1:]]).failures == ()
    alike = judged([*same, numbered(*[GOOD] * 2)[1]])
    assert alike.distinct_openings == 0.4
    assert alike.failures == ("distinct_openings are 40.0% of the dialogues, at least 50.0% expected",)


def test_nothing_to_judge_passes_nothing() -> None:
    nothing = judged([])
    assert (nothing.passed, nothing.failures, nothing.dialogues) == (False, ("no dialogue to judge",), 0)


@settings(max_examples=20)
@given(st.permutations(range(8)))
def test_the_order_of_dialogues_does_not_matter(order: list[int]) -> None:
    dialogues = numbered(*[GOOD] * 3, *SPOILT.values())
    assert judged([dialogues[i] for i in order]) == judged(dialogues)


@settings(max_examples=20)
@given(st.lists(st.sampled_from(sorted(SPOILT)), min_size=1, max_size=6))
def test_the_tally_is_the_sum_of_its_dialogues(figures: list[Figure]) -> None:
    dialogues = [talk(*SPOILT[figure], dialogue_id=f"d{i}") for i, figure in enumerate(figures)]
    total = judged(dialogues)
    assert total.counts == {figure: figures.count(figure) for figure in FIGURES}
    assert total.messages == sum(d.user_turns for d in dialogues)


# The shipped users and models that spoil them.


@pytest.mark.parametrize("played", ["executed", "user_oriented"])
def test_the_shipped_users_pass(played: str, request: pytest.FixtureRequest) -> None:
    run: Played = (
        request.getfixturevalue(played) if played == "executed" else request.getfixturevalue("simulated")[played]
    )
    quality = judged(run.accepted, quality_settings())
    assert quality.failures == ()
    assert quality.messages > 60


def test_whole_tasks_handed_over_are_seen_as_what_they_are(simulated: dict[str, Played]) -> None:
    """The task-oriented baseline as the opposite: its "user" says everything at once."""
    shares = judged(simulated["task_oriented"].accepted).shares
    assert shares["crowded_messages"] > 0.25
