"""Pass@k (any of k trials succeeds) and Pass^k (all of k trials succeed), estimated without bias and averaged over tasks.

With n trials of a task, c of them successful: pass@k = 1 - C(n-c,k)/C(n,k) and pass^k = C(c,k)/C(n,k) are the shares of the
k-subsets of the trials that hold a success, or only successes. (c/n)^k would be biased upwards. Paper: Section 4, Figure 5.

Tasks are what is sampled, so intervals are bootstraps over tasks, and two models are compared on the tasks both were held
on: their difference with its interval, and the p-value of a sign-flip permutation test.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import comb

import numpy

from core.messages import Frozen
from evaluation.trials import TrialRecord

Estimator = Callable[[int, int, int], float | None]


RESAMPLES = 10_000
EXACT_TASKS = 13
"""Up to so many tasks that differ, all sign flips are gone through."""


class Estimate(Frozen):
    """A mean over `tasks` tasks and its 95 % bootstrap interval, which has no width where all tasks gave the same: it cannot
    show what the sample does not hold."""

    value: float
    low: float
    high: float
    tasks: int


class Comparison(Frozen):
    """`difference` is second - first; `p_value` that of a difference at least as large, either way, if the two were alike."""

    difference: Estimate
    p_value: float


class Summary(Frozen):
    """What the trials of one benchmark or category amount to.

    `pass_at` and `pass_hat` hold None for a k that no task has enough trials for. `infrastructure_errors` counts trials that were
    not held and so are in no other figure; `truncations` counts trials with a reply cut at max_tokens. `valid_call_rate` is
    None where the model called no tool at all.
    """

    tasks: int
    trials: int
    infrastructure_errors: int
    truncations: int
    calls: int
    valid_call_rate: float | None
    pass_at: dict[int, Estimate | None]
    pass_hat: dict[int, Estimate | None]


def pass_at_k(n: int, c: int, k: int) -> float | None:
    """Chance that k of n trials, c of them successful, hold at least one success; None for n < k."""
    return None if n < k else 1.0 - comb(n - c, k) / comb(n, k)


def pass_hat_k(n: int, c: int, k: int) -> float | None:
    """Chance that k of n trials, c of them successful, are all successes; None for n < k."""
    return None if n < k else comb(c, k) / comb(n, k)


def counts(records: Iterable[TrialRecord]) -> dict[str, tuple[int, int]]:
    """For each task (n, c): trials held and successes. Trials that were not held count for neither."""
    table: dict[str, list[bool]] = defaultdict(list)
    for record in records:
        table[record.task] += [] if record.success is None else [record.success]
    return {task: (len(outcomes), sum(outcomes)) for task, outcomes in table.items()}


def estimate(
    table: Mapping[str, tuple[int, int]], estimator: Estimator, k: int, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate | None:
    """Mean over the tasks for which `estimator` is defined, with a 95 % percentile bootstrap over tasks; None without any."""
    return _estimate([value for n, c in table.values() if (value := estimator(n, c, k)) is not None], resamples, seed)


def compare(
    first: Iterable[TrialRecord],
    second: Iterable[TrialRecord],
    estimator: Estimator,
    k: int,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison | None:
    """How the second model differs from the first on the tasks both were held on at least k times; None without any. Pairing
    by task takes out what makes tasks hard for both."""
    a, b = counts(first), counts(second)
    pairs = [(estimator(*a[task], k), estimator(*b[task], k)) for task in sorted(a.keys() & b.keys())]
    differences = [y - x for x, y in pairs if x is not None and y is not None]
    difference = _estimate(differences, resamples, seed)
    if difference is None:
        return None
    return Comparison(difference=difference, p_value=sign_flip_p_value(differences, resamples, seed))


def sign_flip_p_value(differences: Sequence[float], flips: int = RESAMPLES, seed: int = 0) -> float:
    """Two-sided: the share of sign flips of the tasks' differences whose sum is as far from 0 as the observed one.

    If two models are alike, each task's difference could as well have had the other sign. All 2^m flips of the m tasks that
    differ are taken for m up to EXACT_TASKS, else `flips` random ones, the observed one counted among them.
    """
    sizes = [round(abs(difference), 12) for difference in differences if abs(difference) > 1e-12]
    observed = abs(sum(differences)) - 1e-9
    # One bit a task, those with equal differences side by side, so that a whole group is summed by counting bits.
    groups, first = [], 0
    for size, many in Counter(sizes).items():
        groups.append((size, many, ((1 << many) - 1) << first))
        first += many
    rng = random.Random(seed)
    exact = len(sizes) <= EXACT_TASKS
    signs = range(1 << len(sizes)) if exact else (rng.getrandbits(len(sizes)) for _ in range(flips))
    hits = sum(
        abs(sum(size * (2 * (bits & mask).bit_count() - many) for size, many, mask in groups)) >= observed
        for bits in signs
    )
    return hits / (1 << len(sizes)) if exact else (hits + 1) / (flips + 1)


def summarize(records: Sequence[TrialRecord], ks: Iterable[int], resamples: int = RESAMPLES, seed: int = 0) -> Summary:
    """Every figure of `records`, which should be one model's on one benchmark or category."""
    table = counts(records)
    held = [record for record in records if record.success is not None]
    calls = sum(record.calls for record in held)
    ks = tuple(ks)
    return Summary(
        tasks=len(table),
        trials=len(held),
        infrastructure_errors=len(records) - len(held),
        truncations=sum(record.truncations > 0 for record in held),
        calls=calls,
        valid_call_rate=sum(record.valid_calls for record in held) / calls if calls else None,
        pass_at={k: estimate(table, pass_at_k, k, resamples, seed) for k in ks},
        pass_hat={k: estimate(table, pass_hat_k, k, resamples, seed) for k in ks},
    )


def pass_1_by_category(records: Iterable[TrialRecord]) -> dict[str, float | None]:
    """Pass@1 of each category, None where no trial of it was held."""
    grouped: dict[str, list[TrialRecord]] = defaultdict(list)
    for record in records:
        grouped[record.category].append(record)
    figures: dict[str, float | None] = {}
    for category, trials in sorted(grouped.items()):
        shares = [passed / held for held, passed in counts(trials).values() if held]
        figures[category] = _mean(shares) if shares else None
    return figures


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _estimate(values: Sequence[float], resamples: int, seed: int) -> Estimate | None:
    if not values:
        return None
    # Drawing len(values) tasks with replacement is drawing how often each of the few different values comes.
    different, often = numpy.unique(values, return_counts=True)
    drawn = numpy.random.default_rng(seed).multinomial(len(values), often / len(values), size=resamples)
    low, high = numpy.quantile(drawn @ different / len(values), (0.025, 0.975))
    return Estimate(value=_mean(values), low=float(low), high=float(high), tasks=len(values))
