"""The quality gate: each kind of fault is counted, and the gate passes up to its threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.dialogue import Dialogue
from generation.metrics.user_faults import FaultKind
from generation.metrics.user_quality import FAULT_KINDS, Quality, QualitySettings, QualityTally
from tests.generation.helpers.pipeline_runs import FinishedRun, quality_settings, user_settings
from tests.generation.helpers.vet_dialogues import GOOD, changed, talk

USERS = user_settings()
SETTINGS = QualitySettings(
    premature_ends=0.25,
    leaked_goals=0.25,
    invented_facts=0.25,
    crowded_messages=0.25,
    repeated_messages=0.25,
    distinct_openings=0.5,
)

SPOILT: dict[FaultKind, tuple[str, ...]] = {
    "premature_ends": (*GOOD[:5], "U Thanks, bye."),
    "leaked_goals": changed(2, "U My goal is that Rex is Max."),
    "invented_facts": changed(2, "U Rex is Max, and 31 kilos."),
    "crowded_messages": changed(0, "U Visit 204 to 14 March, Rex is Max, the price of a check-up?"),
    "repeated_messages": (*GOOD[:2], *GOOD[:2], *GOOD[2:]),
}


def quality_of(dialogues: Sequence[Dialogue], limits: QualitySettings = SETTINGS) -> Quality:
    tally = QualityTally(USERS)
    for dialogue in dialogues:
        tally.add(dialogue)
    return tally.result(limits)


def with_distinct_openings(*sets: tuple[str, ...]) -> list[Dialogue]:
    """Dialogues with these lines, each with a different opening."""
    return [talk(f"{lines[0]} {'x' * i}", *lines[1:], dialogue_id=f"d{i}") for i, lines in enumerate(sets)]


def test_every_kind_of_fault_is_planted() -> None:
    assert (
        set(SPOILT)
        == set(FAULT_KINDS)
        == set(get_args(FaultKind))
        == QualitySettings.model_fields.keys() - {"distinct_openings"}
    )


@pytest.mark.parametrize("kind", FAULT_KINDS)
def test_the_gate_passes_up_to_its_threshold_and_not_beyond(kind: FaultKind) -> None:
    fault = (
        (f"U {SPOILT[kind][2].partition(' ')[2]}", *SPOILT[kind][1:]) if kind == "repeated_messages" else SPOILT[kind]
    )
    spoilt = [talk(*fault, dialogue_id=f"s{i}") for i in range(2)]
    good = with_distinct_openings(*[GOOD] * 6)
    below = quality_of([*good, *spoilt])
    assert below.shares == {f: 0.25 if f == kind else 0.0 for f in FAULT_KINDS}
    assert below.counts[kind] == 2
    assert below.examples[kind].dialogue_id == "s0"
    assert below.passed
    above = quality_of([*good[:5], *spoilt])
    assert not above.passed
    (failure,) = above.failures
    assert failure.startswith(f"{kind} in 28.6% of the dialogues, at most 25.0% allowed (s0, message ")


def test_a_dialogue_counts_once_and_shows_its_first_fault() -> None:
    lines = (*changed(2, "U Rex is Max, and 31 kilos.")[:5], "U What does a check-up cost, for 32 kilos?", *GOOD[6:])
    quality = quality_of([talk(*lines)])
    assert quality.counts["invented_facts"] == 1
    assert quality.examples["invented_facts"].position == 3


def test_identical_openings_fail() -> None:
    assert quality_of(with_distinct_openings(*[GOOD] * 4)).distinct_openings == 1.0
    same = [talk(f"{GOOD[0]}{'!' * i}", *GOOD[1:]) for i in range(4)]
    assert quality_of([*same, *with_distinct_openings(*[GOOD] * 3)[1:]]).failures == ()
    alike = quality_of([*same, with_distinct_openings(*[GOOD] * 2)[1]])
    assert alike.distinct_openings == 0.4
    assert alike.failures == ("distinct_openings are 40.0% of the dialogues, at least 50.0% expected",)


def test_without_dialogues_the_gate_does_not_pass() -> None:
    empty = quality_of([])
    assert (empty.passed, empty.failures, empty.dialogues) == (False, ("no dialogue to check",), 0)


@settings(max_examples=20)
@given(st.permutations(range(8)))
def test_the_order_of_dialogues_does_not_matter(order: list[int]) -> None:
    dialogues = with_distinct_openings(*[GOOD] * 3, *SPOILT.values())
    assert quality_of([dialogues[i] for i in order]) == quality_of(dialogues)


@settings(max_examples=20)
@given(st.lists(st.sampled_from(sorted(SPOILT)), min_size=1, max_size=6))
def test_the_tally_is_the_sum_of_its_dialogues(kinds: list[FaultKind]) -> None:
    dialogues = [talk(*SPOILT[kind], dialogue_id=f"d{i}") for i, kind in enumerate(kinds)]
    total = quality_of(dialogues)
    assert total.counts == {kind: kinds.count(kind) for kind in FAULT_KINDS}
    assert total.messages == sum(d.user_turns for d in dialogues)


# The shipped users and models that spoil them.


@pytest.mark.parametrize("played", ["executed", "user_oriented"])
def test_the_shipped_users_pass(played: str, request: pytest.FixtureRequest) -> None:
    run: FinishedRun = (
        request.getfixturevalue(played) if played == "executed" else request.getfixturevalue("simulated")[played]
    )
    quality = quality_of(run.accepted, quality_settings())
    assert quality.failures == ()
    assert quality.messages > 60


def test_complete_tasks_in_one_message_count_as_crowded(simulated: dict[str, FinishedRun]) -> None:
    """The task-oriented baseline as the opposite: its "user" says everything at once."""
    shares = quality_of(simulated["task_oriented"].accepted).shares
    assert shares["crowded_messages"] > 0.25
