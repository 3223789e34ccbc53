"""Distances between users: known shifts, an independent implementation, intervals, the noise floor and both readers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.journal import write_jsonl
from core.settings import UserError
from generation.metrics.fidelity import (
    METRICS,
    BehaviourTally,
    Fidelity,
    Metric,
    MetricComparison,
    ResamplingSettings,
    compare,
)
from generation.metrics.fidelity_data import UserMessages, generated_users, reference_users
from tests.generation.helpers.vet_dialogues import GOOD, talk

QUICK = ResamplingSettings(seed=0, resamples=40, halves=40, confidence=0.9)
Users = Sequence[Sequence[str]]


def tally(users: Users) -> BehaviourTally:
    made = BehaviourTally()
    for messages in users:
        made.add(messages)
    return made


def compared(
    generated: Users, reference: Users, resampling: ResamplingSettings = QUICK
) -> dict[Metric, MetricComparison]:
    fidelity = compare(tally(generated), tally(reference), resampling)
    assert [metric.metric for metric in fidelity.metrics] == list(METRICS)
    return {metric.metric: metric for metric in fidelity.metrics}


def messages(*words: int) -> list[str]:
    """A dialogue of messages with so many words."""
    return [" ".join(["hm"] * count) for count in words]


def test_a_shift_is_its_own_wasserstein_distance() -> None:
    words = compared([messages(5, 7), messages(9, 5)], [messages(2, 4), messages(6, 2)])["words"]
    assert words.generated_mean == 6.5
    assert words.reference_mean == 3.5
    assert (words.difference.value, words.wasserstein.value) == (3.0, 3.0)
    assert words.kolmogorov_smirnov.value == 0.75, "below 5 are three of four words there, none here"
    assert words.reference_quantiles == (2.0, 2.0, 6.0)


def test_shares_differ_by_their_difference() -> None:
    metrics = compared([["Thanks.", "Book it.", "Is it open?", "17"]], [["17", "Actually, 18."], ["17", "Thanks."]])
    assert metrics["acknowledgements"].difference.value == 0.0
    assert metrics["corrections"].difference.value == -0.25
    assert metrics["corrections"].wasserstein.value == metrics["corrections"].kolmogorov_smirnov.value == 0.25
    assert metrics["questions"].generated_mean == 0.25
    assert metrics["requests"].generated_mean == 0.5
    assert metrics["user_turns"].difference.value == 2.0


users = st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=5), min_size=2, max_size=6)


@settings(max_examples=30)
@given(users, users)
def test_distances_equal_scipys(one: list[list[int]], other: list[list[int]]) -> None:
    stats = pytest.importorskip("scipy.stats")
    words = compared([messages(*counts) for counts in one], [messages(*counts) for counts in other])["words"]
    values = [[count for counts in given for count in counts] for given in (one, other)]
    assert words.wasserstein.value == pytest.approx(stats.wasserstein_distance(*values), abs=1e-4)
    assert words.kolmogorov_smirnov.value == pytest.approx(stats.ks_2samp(*values).statistic, abs=1e-4)


def drawn(rng: Random, count: int, mean: float) -> list[list[str]]:
    """Dialogues whose messages are about as long as each other's, as one person's are."""
    made = []
    for _ in range(count):
        own = rng.gauss(mean, 3)
        made.append(messages(*(max(1, round(rng.gauss(own, 1))) for _ in range(rng.randint(2, 9)))))
    return made


def test_intervals_hold_the_true_difference_as_often_as_they_say() -> None:
    """With intervals over messages instead of dialogues they would hold it in about half of the cases."""
    resampling = ResamplingSettings(seed=1, resamples=200, halves=20, confidence=0.9)
    held = 0
    for trial in range(60):
        rng = Random(trial)
        difference = compared(drawn(rng, 40, 14), drawn(rng, 40, 12), resampling)["words"].difference
        held += difference.low <= 2.0 <= difference.high
    assert 46 <= held <= 60


def test_two_samples_of_the_same_people_are_within_noise_and_others_are_not() -> None:
    rng = Random(4)
    people = drawn(rng, 100, 12)
    assert compared(drawn(rng, 100, 12), people)["words"].within_noise
    assert not compared(drawn(rng, 100, 16), people)["words"].within_noise
    same = compared(people, people)["words"]
    assert same.wasserstein.value == 0.0 < same.wasserstein_floor.mean < same.wasserstein_floor.high


def test_the_seed_decides_and_the_order_of_the_metrics_does_not() -> None:
    rng = Random(2)
    sets = drawn(rng, 30, 12), drawn(rng, 30, 11)
    assert compared(*sets) == compared(*sets)
    other = compared(*sets, QUICK.model_copy(update={"seed": 9}))
    assert other["words"].wasserstein.value == compared(*sets)["words"].wasserstein.value
    assert other["words"].wasserstein != compared(*sets)["words"].wasserstein


def test_a_fidelity_survives_json() -> None:
    fidelity = compare(tally([messages(1)]), tally([messages(1), messages(2)]), QUICK)
    assert Fidelity.model_validate_json(fidelity.model_dump_json()) == fidelity


def test_every_dialogue_is_drawn_equally_often() -> None:
    drawn_numbers: Counter[str] = Counter()
    for seed in range(2000):
        sample = UserMessages(3, Random(seed))
        for number in range(10):
            sample.add([str(number)])
        assert len(sample.sample) == 3
        drawn_numbers.update(messages[0] for messages in sample.sample)
    assert all(500 < drawn_numbers[str(number)] < 700 for number in range(10)), drawn_numbers


def test_imported_messages_are_not_the_simulated_users(tmp_path: Path) -> None:
    imported = talk(*GOOD, dialogue_id="e", given=4)
    write_jsonl(tmp_path / "dialogues.jsonl", [talk(*GOOD), imported, talk(*GOOD, dialogue_id="f", given=10)])
    users = generated_users([tmp_path / "dialogues.jsonl"], 10, seed=0)
    own = tuple(line.removeprefix("U ") for line in GOOD if line.startswith("U "))
    assert users.sample[0] == own
    assert 0 < len(users.sample[1]) < len(own)
    assert users.sample[1] == own[-len(users.sample[1]) :]
    assert dict(users.unread) == {"no message of a user": 1}
    with pytest.raises(UserError, match="no dialogue has a message of a simulated user"):
        generated_users([], 10, seed=0)


CHAT = {"messages": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]}
LEAVING = {"messages": [*CHAT["messages"], {"role": "user", "content": "Thanks."}]}
SPOKEN = {"turns": [{"speaker": "USER", "utterance": "Hi."}, {"speaker": "SYSTEM", "utterance": "Hello."}]}


@pytest.mark.parametrize(
    ("lines", "expected", "unread"),
    [
        ([CHAT, LEAVING], [("Hi.",), ("Hi.", "Thanks.")], {}),
        ([CHAT, SPOKEN, {"name": "a schema"}], [("Hi.",), ("Hi.",)], {"no message of a user": 1}),
        (
            [CHAT, {"turns": [{"speaker": "BARD", "utterance": "O!"}]}, [1], {"chat": "USER: Hi."}, CHAT],
            [("Hi.",), ("Hi.",)],
            {"roles out of order": 1, "unreadable": 1, "unknown format": 1},
        ),
    ],
)
def test_references_of_any_known_format_are_read(
    lines: list[Any], expected: list[tuple[str, ...]], unread: dict[str, int], tmp_path: Path
) -> None:
    (tmp_path / "people.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    users = reference_users(tmp_path, 10, seed=0)
    assert users.sample == expected
    assert dict(users.unread) == unread


def test_a_reference_that_cannot_be_read_names_the_faults(tmp_path: Path) -> None:
    (tmp_path / "people.json").write_text(json.dumps([CHAT, {"chat": "USER: Hi."}]))
    with pytest.raises(UserError, match=r"expected: at least two dialogues .*people\.json, dialogue 1: a conversation"):
        reference_users(tmp_path / "people.json", 10, seed=0)


def test_generated_dialogues_can_be_the_reference(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "dialogues.jsonl", [talk(*GOOD), talk(*GOOD, dialogue_id="e")])
    users = reference_users(tmp_path / "dialogues.jsonl", 10, seed=0)
    assert users.sample == generated_users([tmp_path / "dialogues.jsonl"], 10, seed=0).sample
