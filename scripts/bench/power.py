"""make bench-power: verdicts on simulated students. How often is an effect found that was planted, or one that was not,
and is the power plan right?

A simulated student solves a task with a chance that depends on its cell, the task, how well the cell suits the task,
and its training. The means of cells are the planted effects; everything else is chance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy
from pydantic import Field

from evaluation.metrics.effects import CellScores, effect, seed_variance
from evaluation.metrics.power import Design, components_of, power
from evaluation.metrics.verdicts import Decision, Hypothesis, judge
from scripts.bench.benchmark import BenchSettings, Metric, Report, main

ALPHA = 0.05
BETWEEN_TASKS, SUITS, BETWEEN_SEEDS = 0.25, 0.1, 0.03
PAIRS = ((1, 0), (2, 1), (2, 0))
"""The differences of three cells that an experiment judges."""

DESIGNS = (
    Design(tasks=24, seeds=2, trials=1, cells=3),
    Design(tasks=50, seeds=3, trials=1, cells=3),
    Design(tasks=114, seeds=3, trials=4, cells=3),
)


class PowerSettings(BenchSettings):
    """Settings of bench-power."""

    experiments: int = Field(default=400, ge=1, description="simulated experiments of each kind")


def students(
    random: numpy.random.Generator, means: Sequence[float], design: Design, between_seeds: float = BETWEEN_SEEDS
) -> list[CellScores]:
    """The scores of a cell for each mean."""
    tasks = random.normal(0, BETWEEN_TASKS, design.tasks)
    cells = []
    for mean in means:
        seeds = random.normal(0, between_seeds, (design.seeds, 1))
        chance = numpy.clip(mean + tasks + random.normal(0, SUITS, design.tasks) + seeds, 0, 1)
        values = random.binomial(design.trials, chance) / design.trials
        cells.append(CellScores(values, numpy.zeros(design.tasks, numpy.int64), numpy.ones(1), design.trials))
    return cells


def decisions(cells: Sequence[CellScores], paper: float | None) -> list[Decision]:
    """The verdicts on PAIRS, each of which is claimed to be positive, and by `paper` if given."""
    pooled = seed_variance(cells)
    effects = [effect(cells[first], cells[second], pooled) for first, second in PAIRS]
    hypotheses = [Hypothesis(effect=each, claimed=paper, sign=1) for each in effects]
    return [verdict.decision for verdict in judge(hypotheses, ALPHA)]


def bench(settings: PowerSettings) -> Report:
    random = numpy.random.default_rng(settings.seed)
    n = settings.experiments
    metrics, notes = [], {}
    for design in DESIGNS:
        name = f"{design.tasks} tasks × {design.trials} trials × {design.seeds} seeds"
        for mean in (0.4, 0.05):
            null = [decisions(students(random, [mean] * 3, design), None) for _ in range(n)]
            false = sum(set(verdicts) != {"unresolved"} for verdicts in null) / n
            metrics.append(
                Metric(name=f"false verdicts, {name}, all {mean:.0%}", value=false, target=ALPHA, better="lower")
            )
        pilot = components_of(students(random, [0.4, 0.55], design.model_copy(update={"tasks": 5000, "seeds": 40})))
        assert pilot, "two cells with seeds"
        planned = power(pilot, design, 0.15, ALPHA)
        shown = 0
        for _ in range(n):
            cells = students(random, [0.4, 0.55, 0.4], design)
            shown += effect(cells[1], cells[0], seed_variance(cells)).p_value() < ALPHA
        metrics.append(
            Metric(
                name=f"|power − planned|, 15 points, {name}",
                value=abs(shown / n - planned),
                target=0.07,
                better="lower",
            )
        )
        notes[f"power, 15 points, {name}"] = f"planned {planned:.2f}, simulated {shown / n:.2f}"
    best = DESIGNS[-1]
    found = sum(decisions(students(random, [0.2, 0.4, 0.6], best), 0.2)[2] == "reproduced" for _ in range(n)) / n
    reverse = sum(decisions(students(random, [0.6, 0.4, 0.2], best), 0.2)[2] == "contradicted" for _ in range(n)) / n
    metrics.append(Metric(name="planted +40 points reproduced", value=found, target=0.95, better="higher"))
    metrics.append(Metric(name="planted −40 points contradicted", value=reverse, target=0.95, better="higher"))
    inputs = settings.model_dump(mode="json", include={"experiments", "seed"})
    return Report(name="power", inputs=inputs, metrics=tuple(metrics), notes=notes)


if __name__ == "__main__":
    main(PowerSettings, bench)
