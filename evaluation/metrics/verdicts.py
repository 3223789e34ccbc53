"""Verdicts on claims: does a measured difference reproduce the paper's, contradict it, or settle nothing?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from core.messages import Frozen
from evaluation.metrics.effects import Effect, holm

Decision = Literal["reproduced", "contradicted", "unresolved"]


class Hypothesis(Frozen):
    """A measured effect and what is claimed of it. `claimed` is the paper's difference as a share, None where the paper
    has no number; `sign` is the claimed direction, 0 if none is claimed."""

    effect: Effect
    claimed: float | None
    sign: Literal[-1, 0, 1]


class Verdict(Frozen):
    """`p_zero` and `p_claimed` are Holm-adjusted over the hypotheses judged together: of no difference, and of exactly
    the paper's difference (None without one)."""

    decision: Decision
    reason: str
    p_zero: float | None
    p_claimed: float | None


def judge(hypotheses: Sequence[Hypothesis], alpha: float) -> list[Verdict]:
    """The verdicts of one experiment; the chance that any of them rejects a true hypothesis is at most `alpha` for
    "no difference", and likewise for "the paper's difference".

    - reproduced: there is a difference, in the claimed direction.
    - contradicted: there is one in the other direction, or the claimed number is excluded and no difference is shown.
    - unresolved: anything else. One seed resolves nothing, for another training could differ by more.
    """
    zero = holm([hypothesis.effect.p_value() for hypothesis in hypotheses])
    numbers = {i: h.claimed for i, h in enumerate(hypotheses) if h.claimed is not None}
    of_numbers = holm([hypotheses[i].effect.p_value(number) for i, number in numbers.items()])
    claimed = dict(zip(numbers, of_numbers, strict=True))
    return [_verdict(h, p, claimed.get(i), alpha) for i, (h, p) in enumerate(zip(hypotheses, zero, strict=True))]


def _verdict(hypothesis: Hypothesis, p_zero: float, p_claimed: float | None, alpha: float) -> Verdict:
    effect, sign = hypothesis.effect, hypothesis.sign
    excluded = p_claimed is not None and p_claimed < alpha

    def verdict(decision: Decision, reason: str) -> Verdict:
        return Verdict(decision=decision, reason=reason, p_zero=p_zero, p_claimed=p_claimed)

    if effect.seeds < 2:
        return verdict("unresolved", "one seed: another training could differ by more")
    if p_zero < alpha:
        measured = 1 if effect.value > 0 else -1
        if sign == 0:
            return verdict(
                "unresolved", f"a difference of {100 * effect.value:+.1f} points, of which nothing is claimed"
            )
        if measured != sign:
            return verdict("contradicted", "a difference in the other direction")
        if not excluded or hypothesis.claimed is None:
            return verdict("reproduced", "a difference in this direction")
        size = "smaller" if abs(effect.value) < abs(hypothesis.claimed) else "larger"
        return verdict("reproduced", f"a difference in this direction, but {size} than the paper's")
    if excluded:
        return verdict("contradicted", "no difference is shown, and the paper's number is excluded")
    low, high = effect.interval()
    return verdict("unresolved", f"too small to tell: anything from {100 * low:+.1f} to {100 * high:+.1f} points")
