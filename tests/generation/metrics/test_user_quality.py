"""The quality gate: each figure of a dataset catches the fault that it is named after, and opens up to its threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.dialogue import Dialogue
from generation.metrics.user_faults import Figure
from generation.metrics.user_quality import FIGURES, Quality, QualitySettings, QualityTally
from tests.generation.helpers.pipeline_runs import Played, quality_settings, user_settings
from tests.generation.helpers.vet_dialogues import GOOD, changed, talk

RULES = user_settings().rules
SETTINGS = QualitySettings(
    premature_ends=0.25,
    leaked_goals=0.25,
    invented_facts=0.25,
    crowded_messages=0.25,
    repeated_messages=0.25,
    distinct_openings=0.5,
)

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


def test_a_dialogue_counts_once_and_shows_its_first_fault() -> None:
    lines = (*changed(2, "U Rex is Max, and 31 kilos.")[:5], "U What does a check-up cost, for 32 kilos?", *GOOD[6:])
    quality = judged([talk(*lines)])
    assert quality.counts["invented_facts"] == 1
    assert quality.examples["invented_facts"].position == 3


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
