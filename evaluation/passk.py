"""Pass@k (any of k trials succeeds) and Pass^k (all of k trials succeed), estimated without bias and averaged over tasks.

With n trials of a task, c of them successful: pass@k = 1 - C(n-c,k)/C(n,k) and pass^k = C(c,k)/C(n,k) are the shares of the
k-subsets of the trials that hold a success, or only successes. (c/n)^k would be biased upwards. Paper: Section 4, Figure 5.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import comb

from core.messages import Frozen
from evaluation.results import TrialRecord

Estimator = Callable[[int, int, int], float | None]


class Estimate(Frozen):
    """A mean over `tasks` tasks and its bootstrap interval."""

    value: float
    low: float
    high: float
    tasks: int


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
    table: Mapping[str, tuple[int, int]], estimator: Estimator, k: int, resamples: int = 1000, seed: int = 0
) -> Estimate | None:
    """Mean over the tasks for which `estimator` is defined, with a 95 % percentile bootstrap over tasks."""
    values = [value for n, c in table.values() if (value := estimator(n, c, k)) is not None]
    if not values:
        return None
    low, high = _interval(values, resamples, seed)
    return Estimate(value=_mean(values), low=low, high=high, tasks=len(values))


def paired_difference(
    first: Iterable[TrialRecord], second: Iterable[TrialRecord], estimator: Estimator, k: int, resamples: int = 1000
) -> Estimate | None:
    """second - first, averaged over the tasks both were held on; pairing by task makes the interval narrower."""
    a, b = counts(first), counts(second)
    differences = []
    for task in sorted(a.keys() & b.keys()):
        x, y = estimator(*a[task], k), estimator(*b[task], k)
        if x is not None and y is not None:
            differences.append(y - x)
    if not differences:
        return None
    low, high = _interval(differences, resamples, seed=0)
    return Estimate(value=_mean(differences), low=low, high=high, tasks=len(differences))


def summarize(records: Sequence[TrialRecord], ks: Iterable[int], resamples: int = 1000, seed: int = 0) -> Summary:
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


def _interval(values: Sequence[float], resamples: int, seed: int) -> tuple[float, float]:
    rng = random.Random(seed)
    means = sorted(_mean(rng.choices(values, k=len(values))) for _ in range(resamples))
    return means[int(0.025 * resamples)], means[min(int(0.975 * resamples), resamples - 1)]
