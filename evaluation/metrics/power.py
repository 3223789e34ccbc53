"""How many tasks, trials and seeds resolve a difference: power of the test of evaluation.metrics.effects."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy
from pydantic import Field
from scipy import stats

from core.messages import Frozen
from core.settings import Settings
from evaluation.metrics.effects import CellScores, combine, seed_variance

POWER = 0.8
SEEDS, TRIALS = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20), (1, 2, 4, 8, 16)
"""The designs that `smallest_designs` tries."""
DRAWS = 4000
"""Simulated experiments behind a power, which is known to 0.8 points at 50 %."""


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


def power(components: Components, design: Design, difference: float, alpha: float) -> float:
    """The chance that the two-sided test at level `alpha` shows a true difference (a share). 0 with one seed, which
    settles nothing.

    It is that of the very test, from DRAWS simulated estimates of the difference and of its variances.
    """
    if design.seeds < 2:
        return 0.0
    random = numpy.random.default_rng(0)
    tasks, within_cells = design.tasks, design.seeds - 1
    twice = 2 * components.within_trials**2 / (tasks * design.seeds * design.trials)
    over_tasks = components.between_tasks**2 / tasks + twice
    over_seeds = 2 * components.between_seeds**2 / design.seeds + twice
    drawn = random.normal(difference, sqrt(over_tasks + over_seeds - twice), DRAWS)
    # As `effect` estimates them: with the added tasks, and seeds by all cells or by the two compared ones.
    squares = over_tasks * tasks * random.chisquare(max(tasks - 1, 1), DRAWS) + tasks * drawn**2 + 1
    of_tasks = (squares / (tasks + 2) - (tasks * drawn / (tasks + 2)) ** 2) / (tasks + 2)
    own, others = (random.chisquare(n * within_cells, DRAWS) if n else 0.0 for n in (2, max(design.cells - 2, 0)))
    df_seeds = max(design.cells, 2) * within_cells
    of_seeds = over_seeds * numpy.maximum(own / (2 * within_cells), (own + others) / df_seeds)
    df_twice = max(tasks - 1, 1) * within_cells
    of_twice = twice * random.chisquare(df_twice, DRAWS) / df_twice
    variance, df = combine(of_tasks, of_seeds, of_twice, (max(tasks - 1, 1), df_seeds, df_twice))
    return float(numpy.mean(numpy.abs(drawn) > stats.t.ppf(1 - alpha / 2, df) * numpy.sqrt(variance)))


def smallest_difference(components: Components, design: Design, alpha: float) -> float | None:
    """The smallest true difference that is shown with a chance of POWER; None if not even one of 100 points is."""
    low, high = 0.0, 1.0
    if power(components, design, high, alpha) < POWER:
        return None
    while high - low > 5e-4:
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
