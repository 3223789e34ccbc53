"""Behavioural fidelity: how far generated users are from people, measured on sets of dialogues.

Each metric is a distribution over messages or dialogues. Two sets are compared by the Wasserstein distance (how far, in
the metric's own unit, the values of one have to be moved to become those of the other), the Kolmogorov–Smirnov distance
(the largest difference of their cumulative distributions, 0 to 1) and the difference of their means. For shares, whose
values are 0 or 1, all three have the same size. Intervals are bootstrapped over whole dialogues, whose messages are
alike; the noise floor is the distance between random halves of the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from core.messages import Frozen
from core.settings import Settings
from generation.metrics.user_acts import UserActs, user_acts

Metric = Literal["user_turns", "words", "requests", "acknowledgements", "corrections", "questions"]
METRICS: dict[Metric, str] = {
    "user_turns": "user turns per dialogue",
    "words": "words per message",
    "requests": "requests per message",
    "acknowledgements": "acknowledging messages",
    "corrections": "correcting messages",
    "questions": "asking messages",
}
SHARES: frozenset[Metric] = frozenset({"acknowledgements", "corrections", "questions"})
_BATCH = 64
"""Resamples at a time, which bounds memory: a weight for each dialogue and resample."""

Floats = NDArray[np.float64]


class ResamplingSettings(Settings):
    """Random parts of a comparison."""

    seed: int = Field(description="random seed of the resamples")
    resamples: int = Field(ge=20, description="bootstrap resamples of both sets, for the intervals")
    halves: int = Field(ge=20, description="random halvings of the reference, for the noise floor")
    confidence: float = Field(gt=0, lt=1, description="level of the intervals, and of the noise floor's upper end")


class Interval(Frozen):
    """A value with its bootstrap interval."""

    value: float
    low: float
    high: float


class NoiseFloor(Frozen):
    """Distances between random halves of the reference: their mean, and the quantile at the level of confidence."""

    mean: float
    high: float


class MetricComparison(Frozen):
    """One metric of both sets. `difference` is generated minus reference, in the metric's unit; the quantiles are those
    at 10, 50 and 90 %."""

    metric: Metric
    generated_mean: float
    reference_mean: float
    generated_quantiles: tuple[float, float, float]
    reference_quantiles: tuple[float, float, float]
    difference: Interval
    wasserstein: Interval
    kolmogorov_smirnov: Interval
    wasserstein_floor: NoiseFloor
    kolmogorov_smirnov_floor: NoiseFloor

    @property
    def within_noise(self) -> bool:
        """Whether the sets differ no more than halves of the reference do."""
        return self.wasserstein.value <= self.wasserstein_floor.high


class Fidelity(Frozen):
    """The comparison of all metrics, with the sizes of both sets."""

    generated_dialogues: int
    generated_messages: int
    reference_dialogues: int
    reference_messages: int
    metrics: tuple[MetricComparison, ...]


class BehaviourTally:
    """Measures dialogues one at a time; keeps a few numbers of each user message, no text."""

    def __init__(self) -> None:
        self._dialogues: list[tuple[UserActs, ...]] = []

    def add(self, user_messages: Iterable[str]) -> None:
        """Add the user's messages of one dialogue; one without any is left out."""
        if acts := tuple(user_acts(text) for text in user_messages):
            self._dialogues.append(acts)

    @property
    def dialogues(self) -> int:
        return len(self._dialogues)

    @property
    def messages(self) -> int:
        return sum(map(len, self._dialogues))

    def values(self, metric: Metric) -> list[list[float]]:
        """The values of a metric, by dialogue."""
        if metric == "user_turns":
            return [[float(len(acts))] for acts in self._dialogues]
        field = metric.removesuffix("s") if metric in SHARES else metric
        return [[float(getattr(act, field)) for act in acts] for acts in self._dialogues]


class _Counts:
    """How often each dialogue has each of the values in `support`: shape (dialogues, values)."""

    def __init__(self, values: Sequence[Sequence[float]], support: Floats) -> None:
        self.support = support
        self.counts = np.zeros((len(values), len(support)), dtype=np.float64)
        for row, own in zip(self.counts, values, strict=True):
            np.add.at(row, np.searchsorted(support, own), 1.0)

    def shares(self, weights: Floats) -> Floats:
        """The distribution over the support with these weights of the dialogues: (…, dialogues) -> (…, values)."""
        totals = weights @ self.counts
        shares: Floats = totals / totals.sum(axis=-1, keepdims=True)
        return shares

    @property
    def all(self) -> Floats:
        return self.shares(np.ones(len(self.counts)))

    def quantiles(self) -> tuple[float, float, float]:
        cumulative = np.cumsum(self.all)
        low, middle, high = (
            float(self.support[np.searchsorted(cumulative, level - 1e-12)]) for level in (0.1, 0.5, 0.9)
        )
        return low, middle, high


def _distances(one: Floats, other: Floats, support: Floats) -> tuple[Floats, Floats, Floats]:
    """Difference of the means, Wasserstein and Kolmogorov–Smirnov distance of distributions (…, values)."""
    gaps = np.cumsum(one - other, axis=-1)
    difference: Floats = (one - other) @ support
    wasserstein: Floats = np.abs(gaps[..., :-1]) @ np.diff(support)
    return difference, wasserstein, np.abs(gaps).max(axis=-1)


def compare(generated: BehaviourTally, reference: BehaviourTally, settings: ResamplingSettings) -> Fidelity:
    """Compare the users of two sets of dialogues. The reference needs at least two dialogues, `generated` one."""
    return Fidelity(
        generated_dialogues=generated.dialogues,
        generated_messages=generated.messages,
        reference_dialogues=reference.dialogues,
        reference_messages=reference.messages,
        metrics=tuple(_compare(metric, generated, reference, settings) for metric in METRICS),
    )


def _compare(
    metric: Metric, generated: BehaviourTally, reference: BehaviourTally, settings: ResamplingSettings
) -> MetricComparison:
    sets = [tally.values(metric) for tally in (generated, reference)]
    support = np.unique([value for values in sets for own in values for value in own])
    ours, theirs = (_Counts(values, support) for values in sets)
    observed = _distances(ours.all, theirs.all, support)
    rng = np.random.default_rng([settings.seed, *metric.encode()])
    drawn = _batched(
        settings.resamples,
        lambda size: _distances(
            ours.shares(_resamples(rng, size, ours)), theirs.shares(_resamples(rng, size, theirs)), support
        ),
    )
    floor = _batched(settings.halves, lambda size: _split_distances(rng, size, theirs))
    difference, wasserstein, smirnov = (
        _interval(float(value), values, settings.confidence) for value, values in zip(observed, drawn, strict=True)
    )
    _, wasserstein_floor, smirnov_floor = (_floor(values, settings.confidence) for values in floor)
    return MetricComparison(
        metric=metric,
        generated_mean=_rounded(ours.all @ support),
        reference_mean=_rounded(theirs.all @ support),
        generated_quantiles=ours.quantiles(),
        reference_quantiles=theirs.quantiles(),
        difference=difference,
        wasserstein=wasserstein,
        kolmogorov_smirnov=smirnov,
        wasserstein_floor=wasserstein_floor,
        kolmogorov_smirnov_floor=smirnov_floor,
    )


def _batched(total: int, draw: Callable[[int], tuple[Floats, ...]]) -> list[Floats]:
    """`total` draws of each distance, in batches."""
    parts = [draw(min(_BATCH, total - start)) for start in range(0, total, _BATCH)]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def _resamples(rng: np.random.Generator, size: int, counts: _Counts) -> Floats:
    """How often each dialogue is drawn in each of `size` resamples: (size, dialogues)."""
    dialogues = len(counts.counts)
    return rng.multinomial(dialogues, np.full(dialogues, 1 / dialogues), size=size).astype(np.float64)


def _split_distances(rng: np.random.Generator, size: int, counts: _Counts) -> tuple[Floats, ...]:
    """Distances between the halves of `size` random halvings."""
    dialogues = len(counts.counts)
    in_first = np.zeros((size, dialogues))
    for row in in_first:
        row[rng.permutation(dialogues)[: dialogues // 2]] = 1.0
    return _distances(counts.shares(in_first), counts.shares(1.0 - in_first), counts.support)


def _interval(value: float, drawn: Floats, confidence: float) -> Interval:
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value=_rounded(value), low=_rounded(low), high=_rounded(high))


def _floor(drawn: Floats, confidence: float) -> NoiseFloor:
    return NoiseFloor(mean=_rounded(float(drawn.mean())), high=_rounded(float(np.quantile(drawn, confidence))))


def _rounded(value: float) -> float:
    return round(float(value), 4)
