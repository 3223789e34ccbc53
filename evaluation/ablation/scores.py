"""The scores of an experiment's cells, from the registry's entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import numpy

from evaluation.ablation.registry import Entry
from evaluation.ablation.settings import OutcomeSettings
from evaluation.metrics.effects import CellScores
from evaluation.metrics.pass_at_k import pass_hat_k

Task = tuple[str, str]
"""(category, task id)"""


def cell_scores(outcome: OutcomeSettings, cells: Mapping[str, Sequence[Entry]]) -> dict[str, CellScores]:
    """The scores of the cells with trials of the outcome, on the seeds that all of them have and the tasks that all of
    these models completed at least k times. Empty without such tasks."""
    counts = {
        name: {entry.measured.seed: found for entry in entries if (found := _counts(outcome, entry))}
        for name, entries in cells.items()
    }
    measured = {name: by_seed for name, by_seed in counts.items() if by_seed}
    seeds = sorted(set[int].intersection(*map(set, measured.values()))) if measured else []
    models = [by_seed[seed] for by_seed in measured.values() for seed in seeds]
    tasks = sorted(set[Task].intersection(*map(set, models))) if models else []
    if not tasks:
        return {}
    matched = [(_pattern(outcome, category) or 0) if outcome.weights else 0 for category, _ in tasks]
    present = sorted(set(matched))
    weights = numpy.array([outcome.weights[pattern] if outcome.weights else 1.0 for pattern in present])
    return {
        name: CellScores(
            values=numpy.array([[_value(by_seed[seed][task], outcome.k) for task in tasks] for seed in seeds]),
            strata=numpy.array([present.index(pattern) for pattern in matched]),
            shares=weights / weights.sum(),
            trials=min(by_seed[seed][task][0] for seed in seeds for task in tasks),
        )
        for name, by_seed in measured.items()
    }


def _counts(outcome: OutcomeSettings, entry: Entry) -> dict[Task, tuple[int, int]]:
    """(trials, successes) of each task of the outcome with at least k trials."""
    found = {}
    for name, tasks in entry.measured.outcomes.items():
        benchmark, _, category = name.partition("/")
        if benchmark == outcome.benchmark and _pattern(outcome, category) is not None:
            found.update({(category, task): (n, c) for task, (n, c) in tasks.items() if n >= outcome.k})
    return found


def _pattern(outcome: OutcomeSettings, category: str) -> int | None:
    """The number of the first of the outcome's categories that the category fits."""
    return next((i for i, pattern in enumerate(outcome.categories) if fnmatchcase(category, pattern)), None)


def _value(counts: tuple[int, int], k: int) -> float:
    value = pass_hat_k(*counts, k)
    assert value is not None, "only tasks with k trials are scored"
    return value
