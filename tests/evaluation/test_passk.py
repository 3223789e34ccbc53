"""Pass@k and Pass^k against enumeration of every subset of trials, hand-made tables and their laws."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.sampling import Sampling
from evaluation.passk import counts, estimate, paired_difference, pass_at_k, pass_hat_k, summarize
from evaluation.results import TrialRecord


def trial(task: str, number: int, success: bool | None, **more: object) -> TrialRecord:
    fields = {
        "benchmark": "b",
        "harness": "h",
        "category": "c",
        "task_id": task,
        "trial": number,
        "model": "m",
        "success": success,
        "infrastructure_error": "down" if success is None else None,
        "stop_reason": "stop",
        "sampling": Sampling(),
    }
    return TrialRecord.model_validate(fields | more)


def table(outcomes: dict[str, list[bool | None]]) -> list[TrialRecord]:
    return [trial(task, n, success) for task, row in outcomes.items() for n, success in enumerate(row)]


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


@given(st.integers(1, 30), st.data())
def test_estimators_agree_at_one_and_part_as_k_grows(n: int, data: st.DataObject) -> None:
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
    assert counts(records) == {"b/c/a": (1, 1), "b/c/b": (0, 0), "b/c/c": (2, 0)}
    assert (summary.tasks, summary.trials, summary.infrastructure_errors) == (3, 3, 3)
    one, two = summary.pass_hat[1], summary.pass_hat[2]
    assert one
    assert (one.value, one.tasks) == (0.5, 2)
    assert two
    assert (two.value, two.tasks) == (0.0, 1), "only c has two trials"
    assert estimate(counts(records[2:4]), pass_at_k, 1) is None


def test_calls_and_truncations_are_those_of_held_trials() -> None:
    records = [trial("a", 0, True, calls=4, valid_calls=3), trial("a", 1, False, truncations=2)]
    lost = trial("a", 2, None, calls=10, valid_calls=0, truncations=1)
    summary = summarize([*records, lost], ks=())
    assert (summary.calls, summary.valid_call_rate, summary.truncations) == (4, 0.75, 1)
    assert summarize(records[1:], ks=()).valid_call_rate is None


def test_the_interval_is_that_of_a_known_distribution() -> None:
    records = table({str(n): [n % 2 == 0] for n in range(400)})
    result = estimate(counts(records), pass_at_k, 1)
    assert result
    # binomial: 1.96 * sqrt(0.25 / 400) = 0.049
    assert result.low == pytest.approx(0.451, abs=0.01)
    assert result.high == pytest.approx(0.549, abs=0.01)
    assert estimate(counts(records), pass_at_k, 1) == result, "the same every time"


def test_pairing_by_task_removes_what_the_tasks_share() -> None:
    hard = table({str(n): [n % 2 == 0] for n in range(200)})
    better = table({str(n): [n % 2 == 0 or n < 20] for n in range(200)} | {"unshared": [True]})
    difference = paired_difference(hard, better, pass_at_k, 1)
    assert difference
    assert (difference.value, difference.tasks) == (pytest.approx(0.05), 200)
    assert difference.low > 0.0, "the unpaired intervals overlap: ±0.07 each"
    assert paired_difference(hard, table({"other": [True]}), pass_at_k, 1) is None
