"""Differences between trained models of which each was trained with several seeds: estimates, intervals and tests.

A score varies for three reasons: tasks are a sample, a training with another seed gives another model, and a trial is
chance. An interval over tasks alone, as for two given models, would call a lucky seed an effect of the method. Here

    variance of a difference = variance over tasks + variance over seeds - what both count twice

with the variance over seeds pooled over all cells of an experiment, because two or three seeds of one cell say little:
relative to p(1 - p), since a model that solves nothing solves nothing with every seed, and never less than the two
compared cells show by themselves.
The p-values are of a t-test with Satterthwaite's degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import Any

import numpy
from numpy.typing import NDArray
from scipy import stats

from core.messages import Frozen

Floats = NDArray[numpy.float64]


@dataclass(frozen=True, eq=False)
class CellScores:
    """The scores of one cell: `values[s, t]` is the mean of the trials of task t with the model of seed s.

    `strata[t]` is the stratum of task t, a number from 0, and `shares` the share of each stratum in the score; they sum
    to 1. Within a stratum all tasks count alike; with one stratum the score is the mean over tasks. `trials` is the
    number of trials per task, the smallest where they differ.
    """

    values: Floats
    strata: NDArray[numpy.int64]
    shares: Floats
    trials: int

    @property
    def seeds(self) -> int:
        return len(self.values)

    @property
    def tasks(self) -> int:
        return int(self.values.shape[1])

    @cached_property
    def weights(self) -> Floats:
        """[T]: the share of each task in the score."""
        counts = numpy.bincount(self.strata, minlength=len(self.shares))
        weights: Floats = self.shares[self.strata] / counts[self.strata]
        return weights

    @property
    def binomial_variance(self) -> float:
        """p(1 - p) of the score p over all seeds."""
        score = float(self.by_seed.mean())
        return score * (1 - score)

    @cached_property
    def by_seed(self) -> Floats:
        """[S]: the score of each seed's model."""
        scores: Floats = self.values @ self.weights
        return scores


class Variance(Frozen):
    """A variance and the degrees of freedom of its estimate."""

    value: float
    df: float


class Effect(Frozen):
    """An estimated difference of two scores. `standard_error` and `df` cover tasks, seeds and trials; with one seed
    (`seeds` = 1) they cover tasks and trials only, and say nothing about other trainings."""

    value: float
    standard_error: float
    df: float
    seeds: int
    tasks: int
    trials: int

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The interval of the difference, within the -1 to 1 that a difference of shares can be."""
        half = self.standard_error * float(stats.t.ppf((1 + level) / 2, self.df))
        return max(-1.0, self.value - half), min(1.0, self.value + half)

    def p_value(self, at: float = 0.0) -> float:
        """Two-sided, of the hypothesis that the true difference is `at`."""
        return float(2 * stats.t.sf(abs(self.value - at) / self.standard_error, self.df))


def seed_variance(cells: Sequence[CellScores]) -> Variance | None:
    """The variance of a score p between trainings that differ in the seed alone, as a multiple of p(1 - p), pooled over
    cells; the chance of trials is part of it. None if every cell has one seed."""
    squares = sum(float(((cell.by_seed - cell.by_seed.mean()) ** 2).sum()) for cell in cells)
    degrees = numpy.array([cell.seeds - 1 for cell in cells])
    if not degrees.any():
        return None
    scales = numpy.array([cell.binomial_variance for cell in cells])
    if not (degrees @ scales):
        return Variance(value=0.0, df=float(degrees.sum()))
    df = (degrees @ scales) ** 2 / (degrees @ scales**2)  # cells in which nothing can vary add none
    return Variance(value=squares / float(degrees @ scales), df=float(df))


def effect(first: CellScores, second: CellScores, between_seeds: Variance | None) -> Effect:
    """The score of `first` minus that of `second`. Both have the same tasks in the same order, and the same seeds.

    `between_seeds` is the `seed_variance` of the experiment. The variance over tasks is never 0: as in Agresti
    and Min's interval for pairs, half a task won, half a task lost and one task without a difference are added to it,
    so that equal scores on a few tasks do not pass for certainty.
    """
    assert first.values.shape == second.values.shape, "cells are compared on the same tasks and seeds"
    differences = first.values - second.values
    tasks = _task_variance(differences.mean(axis=0), first)
    value = float(differences.mean(axis=0) @ first.weights)
    common: dict[str, Any] = {
        "value": value,
        "seeds": first.seeds,
        "tasks": first.tasks,
        "trials": min(first.trials, second.trials),
    }
    if between_seeds is None:
        return Effect(standard_error=sqrt(tasks.value), df=tasks.df, **common)
    scale = (first.binomial_variance + second.binomial_variance) / first.seeds
    own = seed_variance([first, second])
    assert own, "cells are compared with the number of seeds that the variance is of"
    seeds = Variance(value=max(between_seeds.value, own.value) * scale, df=between_seeds.df)
    twice = _residual_variance(differences, first)
    values = [numpy.array(part.value) for part in (tasks, seeds, twice)]
    variance, df = combine(values[0], values[1], values[2], (tasks.df, seeds.df, twice.df))
    return Effect(standard_error=sqrt(float(variance)), df=float(df), **common)


def combine(tasks: Floats, seeds: Floats, twice: Floats, dfs: tuple[float, float, float]) -> tuple[Floats, Floats]:
    """The variance of a difference and its degrees of freedom (Satterthwaite), from the variances over tasks and over
    seeds and that which both contain, each an array of estimates with the degrees of freedom `dfs`."""
    # Each of the two is a part of the whole, and estimates of variances can exceed it by chance.
    variance = numpy.maximum(numpy.maximum(tasks, seeds), tasks + seeds - twice)
    parts = sum(part**2 / df for part, df in zip((tasks, seeds, twice), dfs, strict=True) if df)
    return variance, numpy.clip(variance**2 / parts, min(dfs[:2]), sum(dfs[:2]))


def _task_variance(differences: Floats, cell: CellScores) -> Variance:
    """The variance of the score's difference over samples of tasks, from each task's difference [T]."""
    variance, df = 0.0, 0
    extra = 1 / len(cell.shares)  # the added tasks, spread over the strata
    for stratum, share in enumerate(cell.shares):
        part = differences[cell.strata == stratum]
        n = len(part) + 2 * extra
        squares = float((part**2).sum()) + extra
        variance += float(share) ** 2 * (squares / n - (float(part.sum()) / n) ** 2) / n
        df += len(part) - 1
    return Variance(value=variance, df=max(df, 1))


def _residual_variance(differences: Floats, cell: CellScores) -> Variance:
    """The part of a difference's variance that shrinks with tasks and with seeds: trials, and how much a seed's effect
    differs from task to task. The variances over tasks and over seeds both contain it."""
    seeds = len(differences)
    if seeds < 2 or cell.tasks < 2:
        return Variance(value=0.0, df=0)
    weights = cell.weights
    residuals = differences - differences.mean(axis=0) - (differences @ weights)[:, None]
    residuals = residuals + differences.mean(axis=0) @ weights
    df = seeds - 1
    per_task = (residuals**2).sum(axis=0) / df
    return Variance(value=float(per_task @ weights**2) / seeds, df=df * (cell.tasks - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values: rejecting those below α keeps the chance of any false rejection below α."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(1.0, largest)
    return adjusted
