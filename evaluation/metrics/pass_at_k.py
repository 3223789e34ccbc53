"""Pass@k (any of k trials succeeds) and Pass^k (all of k trials succeed): unbiased estimates, averaged over tasks.

For n trials of a task with c successes, pass@k = 1 - C(n-c,k)/C(n,k) and pass^k = C(c,k)/C(n,k): the shares of the
k-subsets of the trials that contain a success, or only successes. (c/n)^k would be biased upwards. Paper: Section 4,
Figure 5.

Tasks are the sample, so intervals are bootstraps over tasks. Two models are compared on the tasks that both completed:
by the difference with its interval, and by the p-value of a sign-flip permutation test.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from math import comb

import numpy
from pydantic import Field

from core.dialogue import Blame
from core.messages import Frozen
from evaluation.trials import TrialRecord

Estimator = Callable[[int, int, int], float | None]
"""`pass_at_k` or `pass_hat_k`: the estimate from n, c and k."""

RESAMPLES = 10_000
EXACT_TASKS = 13
"""With at most this many differing tasks, the p-value is exact: all sign flips are enumerated."""


class Estimate(Frozen):
    """A mean over `tasks` tasks with its 95 % bootstrap interval. If all tasks have the same value the interval has no
    width: a bootstrap cannot show variation that the sample does not contain."""

    value: float
    low: float
    high: float
    tasks: int


class Comparison(Frozen):
    """`difference` is second - first; `p_value` is the probability, if the models were alike, of a difference at least
    as large in either direction."""

    difference: Estimate
    p_value: float


class Summary(Frozen):
    """The metrics of the trials of one benchmark or category.

    `pass_at` and `pass_hat` are None for a k that no task has enough trials for. `infrastructure_errors` counts the
    trials that could not be completed and are in no other metric; `truncations` counts trials with a reply cut at
    max_tokens. `valid_call_rate` is None if the model called no tool. `blame` counts failed trials by who caused them,
    where rules tell.
    """

    tasks: int
    trials: int
    infrastructure_errors: int
    truncations: int
    calls: int
    valid_call_rate: float | None
    pass_at: dict[int, Estimate | None]
    pass_hat: dict[int, Estimate | None]
    blame: dict[Blame, int] = Field(default_factory=dict)


def pass_at_k(n: int, c: int, k: int) -> float | None:
    """The probability that k of n trials, c of them successful, include a success; None for n < k."""
    return None if n < k else 1.0 - comb(n - c, k) / comb(n, k)


def pass_hat_k(n: int, c: int, k: int) -> float | None:
    """The probability that k of n trials, c of them successful, are all successes; None for n < k."""
    return None if n < k else comb(c, k) / comb(n, k)


def trial_counts(records: Iterable[TrialRecord]) -> dict[str, tuple[int, int]]:
    """(n, c) of each task: its completed trials and their successes."""
    successes: dict[str, list[bool]] = defaultdict(list)
    for record in records:
        successes[record.task] += [] if record.success is None else [record.success]
    return {task: (len(outcomes), sum(outcomes)) for task, outcomes in successes.items()}


def estimate(
    counts: Mapping[str, tuple[int, int]], estimator: Estimator, k: int, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate | None:
    """The mean over the tasks for which `estimator` is defined, with a 95 % percentile bootstrap over tasks; None
    without such tasks. `counts` are those of `trial_counts`."""
    return _estimate([value for n, c in counts.values() if (value := estimator(n, c, k)) is not None], resamples, seed)


def compare(
    first: Iterable[TrialRecord],
    second: Iterable[TrialRecord],
    estimator: Estimator,
    k: int,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison | None:
    """How the second model differs from the first on the tasks that both completed at least k times; None without such
    tasks. Pairing by task removes the difficulty that both share."""
    a, b = trial_counts(first), trial_counts(second)
    pairs = [(estimator(*a[task], k), estimator(*b[task], k)) for task in sorted(a.keys() & b.keys())]
    differences = [y - x for x, y in pairs if x is not None and y is not None]
    difference = _estimate(differences, resamples, seed)
    if difference is None:
        return None
    return Comparison(difference=difference, p_value=sign_flip_p_value(differences, resamples, seed))


def sign_flip_p_value(differences: Sequence[float], flips: int = RESAMPLES, seed: int = 0) -> float:
    """Two-sided: the share of sign flips of the tasks' differences whose sum is at least as far from 0 as the observed
    one.

    If two models are alike, each task's difference could as well have the opposite sign. All 2^m flips of the m
    differing tasks are enumerated for m up to EXACT_TASKS, else `flips` random ones are drawn, and the observed one
    counts among them.
    """
    nonzero = [difference for difference in differences if abs(difference) > 1e-12]
    observed = abs(sum(differences)) - 1e-9
    if len(nonzero) <= EXACT_TASKS:
        signs = numpy.array([*product((-1, 1), repeat=len(nonzero))])
        return float(numpy.mean(abs(signs @ nonzero) >= observed))
    # Flipping the signs of equal differences at random draws how many of them are positive: one binomial number.
    sizes, counts = numpy.unique(numpy.round(numpy.abs(nonzero), 12), return_counts=True)
    positive = numpy.random.default_rng(seed).binomial(counts, 0.5, size=(flips, len(counts)))
    hits = numpy.count_nonzero(abs((2 * positive - counts) @ sizes) >= observed)
    return float(hits + 1) / (flips + 1)


def summarize(records: Sequence[TrialRecord], ks: Iterable[int], resamples: int = RESAMPLES, seed: int = 0) -> Summary:
    """The metrics of `records`, which should be one model's on one benchmark or category."""
    counts = trial_counts(records)
    completed = [record for record in records if record.success is not None]
    calls = sum(record.calls for record in completed)
    ks = tuple(ks)
    return Summary(
        tasks=len(counts),
        trials=len(completed),
        infrastructure_errors=len(records) - len(completed),
        truncations=sum(record.truncations > 0 for record in completed),
        calls=calls,
        valid_call_rate=sum(record.valid_calls for record in completed) / calls if calls else None,
        pass_at={k: estimate(counts, pass_at_k, k, resamples, seed) for k in ks},
        pass_hat={k: estimate(counts, pass_hat_k, k, resamples, seed) for k in ks},
        blame=dict(Counter(record.blame for record in completed if record.blame)),
    )


def pass_1_by_category(records: Iterable[TrialRecord]) -> dict[str, float | None]:
    """Pass@1 of each category; None without completed trials."""
    by_category: dict[str, list[TrialRecord]] = defaultdict(list)
    for record in records:
        by_category[record.category].append(record)
    metrics: dict[str, float | None] = {}
    for category, trials in sorted(by_category.items()):
        shares = [successes / completed for completed, successes in trial_counts(trials).values() if completed]
        metrics[category] = _mean(shares) if shares else None
    return metrics


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _estimate(values: Sequence[float], resamples: int, seed: int) -> Estimate | None:
    if not values:
        return None
    # Drawing tasks with replacement draws how often each of the few distinct values occurs: one multinomial vector.
    distinct, counts = numpy.unique(values, return_counts=True)
    drawn = numpy.random.default_rng(seed).multinomial(len(values), counts / len(values), size=resamples)
    low, high = numpy.quantile(drawn @ distinct / len(values), (0.025, 0.975))
    return Estimate(value=_mean(values), low=float(low), high=float(high), tasks=len(values))
