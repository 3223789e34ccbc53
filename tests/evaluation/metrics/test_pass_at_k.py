"""Pass@k, Pass^k, intervals and p-values against enumeration, inspect's reducers, the naive bootstrap and tables by
hand."""

from __future__ import annotations

import random
from itertools import combinations, product
from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspect_ai.scorer import Score, pass_at, pass_k

from evaluation.metrics.pass_at_k import (
    compare,
    estimate,
    pass_at_k,
    pass_hat_k,
    sign_flip_p_value,
    summarize,
    trial_counts,
)
from evaluation.trials import TrialRecord
from tests.evaluation.helpers.trials import trial


def table(outcomes: dict[str, list[bool | None]]) -> list[TrialRecord]:
    return [trial("b", "c", task, n, success) for task, row in outcomes.items() for n, success in enumerate(row)]


trials = st.lists(st.booleans(), min_size=1, max_size=9)


@given(trials, st.integers(1, 9))
def test_estimators_equal_the_enumeration_of_subsets(outcomes: list[bool], k: int) -> None:
    n, c = len(outcomes), sum(outcomes)
    subsets = list(combinations(outcomes, k))
    if not subsets:
        assert pass_at_k(n, c, k) is pass_hat_k(n, c, k) is None
        return
    assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))
    assert pass_hat_k(n, c, k) == pytest.approx(sum(map(all, subsets)) / len(subsets))


@given(trials, st.integers(1, 9))
def test_estimators_equal_the_reducers_of_inspect(outcomes: list[bool], k: int) -> None:
    n, c = len(outcomes), sum(outcomes)
    scores = [Score(value="C" if success else "I") for success in outcomes]
    for ours, theirs in ((pass_at_k, pass_at(k)), (pass_hat_k, pass_k(k))):
        reduced = theirs(scores).as_float()
        assert ours(n, c, k) == (None if isnan(reduced) else pytest.approx(reduced))


@given(st.integers(1, 30), st.data())
def test_estimators_agree_at_k_1_and_diverge_as_k_grows(n: int, data: st.DataObject) -> None:
    c = data.draw(st.integers(0, n))
    assert pass_at_k(n, c, 1) == pytest.approx(c / n) == pass_hat_k(n, c, 1)
    at = [pass_at_k(n, c, k) or 0.0 for k in range(1, n + 1)]
    hat = [pass_hat_k(n, c, k) or 0.0 for k in range(1, n + 1)]
    assert at == sorted(at)
    assert hat == sorted(hat, reverse=True)
    assert at[-1] == (c > 0)
    assert hat[-1] == (c == n)


def test_a_table_by_hand() -> None:
    records = table({"a": [True, True, False, False], "b": [True, True, True, True], "c": [False, False, False, False]})
    summary = summarize(records, ks=(1, 2, 4, 5))
    values = {
        k: (at.value, hat.value) for k in (1, 2, 4) if (at := summary.pass_at[k]) and (hat := summary.pass_hat[k])
    }
    assert values[1] == pytest.approx((0.5, 0.5))
    assert values[2] == pytest.approx(((5 / 6 + 1) / 3, (1 / 6 + 1) / 3))
    assert values[4] == pytest.approx((2 / 3, 1 / 3))
    assert summary.pass_at[5] is None
    assert summary.pass_hat[5] is None, "undefined, not 1, with fewer trials than k"


def test_infrastructure_errors_are_counted_and_never_scored() -> None:
    records = table({"a": [True, None], "b": [None, None], "c": [False, False]})
    summary = summarize(records, ks=(1, 2))
    assert trial_counts(records) == {"b/c/a": (1, 1), "b/c/b": (0, 0), "b/c/c": (2, 0)}
    assert (summary.tasks, summary.trials, summary.infrastructure_errors) == (3, 3, 3)
    one, two = summary.pass_hat[1], summary.pass_hat[2]
    assert one
    assert (one.value, one.tasks) == (0.5, 2)
    assert two
    assert (two.value, two.tasks) == (0.0, 1), "only c has two trials"
    assert estimate(trial_counts(records[2:4]), pass_at_k, 1) is None


def test_calls_and_truncations_are_those_of_completed_trials() -> None:
    records = [trial("b", "c", "a", 0, True, calls=4, valid_calls=3), trial("b", "c", "a", 1, False, truncations=2)]
    records.append(trial("b", "d", "a", 0, False, truncations=1))
    error = trial("b", "c", "a", 2, None, calls=10, valid_calls=0, truncations=1)
    summary = summarize([*records, error], ks=())
    assert (summary.calls, summary.valid_call_rate, summary.truncations) == (4, 0.75, 2), "trials, not answers"
    assert summarize(records[1:], ks=()).valid_call_rate is None


def test_the_interval_is_that_of_a_known_distribution() -> None:
    records = table({str(n): [n % 2 == 0] for n in range(400)})
    result = estimate(trial_counts(records), pass_at_k, 1)
    assert result
    # binomial: 1.96 * sqrt(0.25 / 400) = 0.049
    assert result.low == pytest.approx(0.451, abs=0.01)
    assert result.high == pytest.approx(0.549, abs=0.01)
    assert estimate(trial_counts(records), pass_at_k, 1) == result, "the same every time"


def test_the_interval_is_that_of_the_naive_bootstrap() -> None:
    values = [0.0] * 9 + [0.25] * 4 + [1.0] * 7
    records = table({str(n): [i < 4 * value for i in range(4)] for n, value in enumerate(values)})
    rng = random.Random(5)
    means = sorted(sum(rng.choices(values, k=20)) / 20 for _ in range(4000))
    result = estimate(trial_counts(records), pass_at_k, 1)
    assert result
    assert result.value == pytest.approx(0.4)
    assert (result.low, result.high) == (pytest.approx(means[100], abs=0.02), pytest.approx(means[3899], abs=0.02))


def test_pairing_by_task_removes_shared_difficulty() -> None:
    hard = table({str(n): [n % 2 == 0] for n in range(200)})
    better = table({str(n): [n % 2 == 0 or n < 20] for n in range(200)} | {"unshared": [True]})
    comparison = compare(hard, better, pass_at_k, 1)
    assert comparison
    assert (comparison.difference.value, comparison.difference.tasks) == (pytest.approx(0.05), 200)
    assert comparison.difference.low > 0.0, "the unpaired intervals overlap: ±0.07 each"
    # Ten tasks differ, all the same way: two of 2^10 flips are as extreme.
    assert comparison.p_value == 2 / 1024
    reverse = compare(better, hard, pass_at_k, 1)
    assert reverse
    assert (reverse.difference.value, reverse.p_value) == (-comparison.difference.value, comparison.p_value)
    assert compare(hard, table({"other": [True]}), pass_at_k, 1) is None


def test_only_tasks_that_both_completed_at_least_k_times_are_compared() -> None:
    first = table({"a": [True, True], "b": [True, False], "c": [False]})
    second = table({"a": [False, False], "b": [True, None], "c": [True, True]})
    comparison = compare(first, second, pass_hat_k, 2)
    assert comparison
    assert (comparison.difference.value, comparison.difference.tasks, comparison.p_value) == (-1.0, 1, 1.0)


shares = st.sampled_from([-1.0, -0.75, -2 / 3, -0.5, -1 / 3, 0.0, 0.25, 1 / 3, 0.5, 1.0])


@given(st.lists(shares, max_size=8))
def test_the_p_value_is_the_share_of_sign_flips_at_least_as_extreme(differences: list[float]) -> None:
    sums = [
        sum(s * d for s, d in zip(signs, differences, strict=True))
        for signs in product((1, -1), repeat=len(differences))
    ]
    extreme = sum(abs(total) >= abs(sum(differences)) - 1e-9 for total in sums)
    assert sign_flip_p_value(differences) == pytest.approx(extreme / len(sums))


def test_many_tasks_are_flipped_at_random() -> None:
    differences = [1.0] * 60 + [-1.0] * 40 + [0.0] * 500
    # Two-sided sign test: 2 P(B(100, 1/2) >= 60) = 0.0569
    assert sign_flip_p_value(differences) == pytest.approx(0.0569, abs=0.008)
    assert sign_flip_p_value(differences) == sign_flip_p_value(differences[::-1]), "the same every time"
    assert sign_flip_p_value([1.0] * 40) == 1 / 10_001, "never 0"
    assert sign_flip_p_value([]) == sign_flip_p_value([0.0]) == 1.0
