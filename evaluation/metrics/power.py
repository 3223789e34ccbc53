"""How many tasks, trials and seeds resolve a difference: power of the test of evaluation.metrics.effects."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy
from pydantic import Field
from scipy import stats

from core.messages import Frozen
from core.settings import Settings
from evaluation.metrics.effects import CellScores, seed_variance

POWER = 0.8
SEEDS, TRIALS = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20), (1, 2, 4, 8, 16)
"""The designs that `smallest_designs` tries."""


class Components(Settings):
    """The sources of variation of a score, as standard deviations in shares of 1."""

    between_tasks: float = Field(
        ge=0, description="standard deviation, over tasks, of the true difference of two models in a task's success"
    )
    between_seeds: float = Field(ge=0, description="standard deviation of a model's true score over trainings")
    within_trials: float = Field(
        ge=0, description="standard deviation of one trial of a task; at most 0.5, for a task solved half of the time"
    )


class Design(Frozen):
    """An experiment of `cells` cells, each trained with `seeds` seeds and evaluated with `trials` trials a task."""

    tasks: int
    seeds: int
    trials: int
    cells: int


def standard_error(components: Components, design: Design) -> tuple[float, float]:
    """The standard error of a difference between two cells, and its degrees of freedom (Satterthwaite)."""
    trials = 2 * components.within_trials**2 / (design.tasks * design.seeds * design.trials)
    tasks = components.between_tasks**2 / design.tasks
    seeds = 2 * components.between_seeds**2 / design.seeds
    variance = tasks + seeds + trials
    df_tasks, df_seeds = max(design.tasks - 1, 1), design.cells * (design.seeds - 1)
    parts = (tasks + trials) ** 2 / df_tasks
    parts += (seeds + trials) ** 2 / df_seeds + trials**2 / (df_tasks * (design.seeds - 1)) if df_seeds else 0.0
    return sqrt(variance), max(1.0, variance**2 / parts if parts else float(df_tasks))


def power(components: Components, design: Design, difference: float, alpha: float) -> float:
    """The chance that the two-sided test at level `alpha` shows a true difference (a share). 0 with one seed, which
    settles nothing."""
    if design.seeds < 2:
        return 0.0
    error, df = standard_error(components, design)
    if error == 0:
        return float(difference != 0)
    critical = float(stats.t.ppf(1 - alpha / 2, df))
    return float(stats.nct.sf(critical, df, abs(difference) / error))


def smallest_difference(components: Components, design: Design, alpha: float) -> float | None:
    """The smallest true difference that is shown with a chance of POWER; None if not even one of 100 points is."""
    low, high = 0.0, 1.0
    if power(components, design, high, alpha) < POWER:
        return None
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if power(components, design, middle, alpha) >= POWER else (middle, high)
    return high


def smallest_designs(components: Components, tasks: int, cells: int, difference: float, alpha: float) -> list[Design]:
    """For each number of trials, the design with the fewest seeds that has POWER; all with `tasks` tasks."""
    found = []
    for trials in TRIALS:
        designs = (Design(tasks=tasks, seeds=seeds, trials=trials, cells=cells) for seeds in SEEDS)
        if enough := next((d for d in designs if power(components, d, difference, alpha) >= POWER), None):
            found.append(enough)
    return found


def components_of(cells: Sequence[CellScores]) -> Components | None:
    """Estimates from measured cells with the same tasks and seeds; None with fewer than two cells or seeds. With one
    trial per task, a trial's variation cannot be told from a task's and the largest possible one is taken."""
    seeds = seed_variance(cells)
    if len(cells) < 2 or seeds is None:
        return None
    trials, tasks = min(cell.trials for cell in cells), cells[0].tasks
    within = float(numpy.mean([_within(cell) for cell in cells]))
    of_seeds = seeds.value * float(numpy.mean([cell.binomial_variance for cell in cells]))
    noise = within / (tasks * trials)
    pairs = [(a.values - b.values).mean(axis=0) for i, a in enumerate(cells) for b in cells[i + 1 :]]
    task_noise = 2 * within / (cells[0].seeds * trials)
    between = float(numpy.mean([pair.var(ddof=1) if tasks > 1 else 0.0 for pair in pairs])) - task_noise
    return Components(
        between_tasks=sqrt(max(0.0, between)),
        between_seeds=sqrt(max(0.0, of_seeds - noise)),
        within_trials=sqrt(within),
    )


def _within(cell: CellScores) -> float:
    """The mean variance of one trial."""
    values, n = cell.values, cell.trials
    chance = values * (1 - values)
    if n > 1:
        return float(chance.mean()) * n / (n - 1)
    pooled = values.mean(axis=0)
    return float((pooled * (1 - pooled)).mean()) * cell.seeds / max(1, cell.seeds - 1)
