"""Verdicts on effects whose estimate and standard error are given."""

from __future__ import annotations

from typing import Literal

import pytest

from evaluation.metrics.effects import Effect
from evaluation.metrics.verdicts import Decision, Hypothesis, judge


def hypothesis(
    value: float, error: float, claimed: float | None, sign: Literal[-1, 0, 1] = 1, seeds: int = 3
) -> Hypothesis:
    effect = Effect(value=value, standard_error=error, df=40, seeds=seeds, tasks=100, trials=1)
    return Hypothesis(effect=effect, claimed=claimed, sign=sign)


@pytest.mark.parametrize(
    ("value", "error", "claimed", "sign", "decision", "reason"),
    [
        (0.10, 0.01, 0.10, 1, "reproduced", "a difference in this direction"),
        (0.10, 0.01, 0.30, 1, "reproduced", "a difference in this direction, but smaller than the paper's"),
        (0.30, 0.01, 0.10, 1, "reproduced", "a difference in this direction, but larger than the paper's"),
        (-0.10, 0.01, -0.30, -1, "reproduced", "a difference in this direction, but smaller than the paper's"),
        (0.10, 0.01, None, 1, "reproduced", "a difference in this direction"),
        (-0.10, 0.01, 0.10, 1, "contradicted", "a difference in the other direction"),
        (0.10, 0.01, None, -1, "contradicted", "a difference in the other direction"),
        (0.01, 0.01, 0.10, 1, "contradicted", "no difference is shown, and the paper's number is excluded"),
        (0.05, 0.10, 0.10, 1, "unresolved", "too small to tell: anything from -15.2 to +25.2 points"),
        (0.01, 0.01, None, 1, "unresolved", "too small to tell: anything from -1.0 to +3.0 points"),
        (0.10, 0.01, None, 0, "unresolved", "a difference of +10.0 points, of which nothing is claimed"),
    ],
)
def test_a_verdict_needs_both_tests(
    value: float, error: float, claimed: float | None, sign: Literal[-1, 0, 1], decision: Decision, reason: str
) -> None:
    (verdict,) = judge([hypothesis(value, error, claimed, sign)], 0.05)
    assert verdict.decision == decision
    assert verdict.reason == reason
    assert (verdict.p_claimed is None) == (claimed is None)


def test_a_difference_that_shows_alone_may_not_show_among_many() -> None:
    """2.5 standard errors: p = 0.017, and 0.10 as the smallest of six."""
    alone = hypothesis(0.025, 0.01, 0.03)
    assert judge([alone], 0.05)[0].decision == "reproduced"
    among = judge([alone, *(hypothesis(0.0, 0.05, 0.03) for _ in range(5))], 0.05)
    assert among[0].decision == "unresolved"
    assert among[0].p_zero == pytest.approx(6 * judge([alone], 0.05)[0].p_zero)


def test_one_seed_settles_nothing_and_two_can() -> None:
    (verdict,) = judge([hypothesis(0.5, 0.01, 0.5, seeds=1)], 0.05)
    assert verdict.decision == "unresolved"
    assert "one seed" in verdict.reason
    assert judge([hypothesis(0.5, 0.01, 0.5, seeds=2)], 0.05)[0].decision == "reproduced"


def test_the_paper_may_report_no_difference() -> None:
    (verdict,) = judge([hypothesis(0.02, 0.01, 0.0)], 0.05)
    assert verdict.p_claimed == verdict.p_zero


def test_a_p_value_of_exactly_alpha_rejects_nothing() -> None:
    one = hypothesis(0.0, 0.05, 0.13)
    p_claimed = judge([one], 0.05)[0].p_claimed
    assert p_claimed
    assert judge([one], p_claimed * 1.001)[0].decision == "contradicted"
    assert judge([one], p_claimed)[0].decision == "unresolved"
    two = hypothesis(0.1, 0.05, None)
    p_zero = judge([two], 0.05)[0].p_zero
    assert p_zero
    assert judge([two], p_zero * 1.001)[0].decision == "reproduced"
    assert judge([two], p_zero)[0].decision == "unresolved"
