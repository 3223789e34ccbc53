"""Differences over tasks and seeds: by hand, against resampling, and on simulated students with planted effects."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from evaluation.metrics.effects import CellScores, effect, holm, seed_variance
from evaluation.metrics.power import Components, Design, components_of, power, smallest_designs, smallest_difference
from evaluation.metrics.verdicts import Hypothesis, judge
from scripts.bench.power import decisions, students

EXPERIMENTS = 200


def cell(values: Sequence[Sequence[float]], strata: Sequence[int] = (), trials: int = 1) -> CellScores:
    """A cell from its scores [seed][task]; every stratum counts alike."""
    array = numpy.array(values, float)
    numbers = numpy.array(strata or [0] * array.shape[1])
    shares = numpy.full(numbers.max() + 1, 1 / (numbers.max() + 1))
    return CellScores(array, numbers, shares, trials)


def test_a_difference_by_hand() -> None:
    first = cell([[1, 1, 0, 1], [1, 0, 0, 1]])
    second = cell([[0, 1, 0, 0], [0, 0, 0, 0]])
    pooled = seed_variance([first, second])
    # Scores by seed: 0.75, 0.5 and 0.25, 0: squares 2 × 0.03125. p(1 - p): 15/64 and 7/64.
    assert pooled
    assert pooled.value == pytest.approx(0.0625 / (22 / 64))
    assert pooled.df == pytest.approx(22**2 / (15**2 + 7**2))
    found = effect(first, second, pooled)
    assert found.value == pytest.approx(0.5)
    # Tasks: 1, 0, 0, 1; with half a win, half a loss and one tie: squares 3 of 6, sum 2.
    tasks = (3 / 6 - (2 / 6) ** 2) / 6
    seeds = 0.0625 / (22 / 64) * (22 / 64) / 2
    # Differences by seed: 1 0 0 1 and 1 0 0 1: nothing is left after task and seed.
    assert found.standard_error == pytest.approx(math.sqrt(tasks + seeds))
    df = (tasks + seeds) ** 2 / (tasks**2 / 3 + seeds**2 / pooled.df)
    half = found.standard_error * stats.t.ppf(0.975, found.df)
    assert found.interval() == pytest.approx((0.5 - half, 1.0)), "a difference of shares is at most 1"
    assert 0.5 + half > 1
    assert effect(second, first, pooled).interval() == pytest.approx((-1.0, half - 0.5))
    assert found.df == pytest.approx(df)
    assert found.p_value(at=0.5) == pytest.approx(1)


def test_what_tasks_and_seeds_both_contain_counts_once() -> None:
    first, second = cell([[1, 0], [0, 0]]), cell([[0, 0], [0, 0]])
    found = effect(first, second, seed_variance([first, second]))
    tasks = (1.25 / 4 - (0.5 / 4) ** 2) / 4  # 0.5 and 0; with half a win, half a loss and one tie: squares 1.25
    seeds = 0.125 / (3 / 16) * (3 / 16) / 2  # scores by seed 0.5 and 0: squares 0.125; p(1 - p) 3/16
    residuals = 2 * 0.125 / 4 / 2  # ±0.25 after task and seed: 0.125 a task, weights 1/2, two seeds
    assert found.standard_error == pytest.approx(math.sqrt(tasks + seeds - residuals))


def test_a_cell_that_cannot_vary_lends_no_certainty() -> None:
    """Two cells that solve nothing say nothing about how much the seed matters to two others."""
    first, second = cell([[1, 1, 0, 0] * 5, [1, 0, 0, 0] * 5]), cell([[1, 0, 1, 0] * 5, [1, 1, 1, 0] * 5])
    zero = cell([[0.0] * 20] * 2)
    alone = effect(first, second, seed_variance([first, second]))
    assert effect(first, second, seed_variance([first, second, zero, zero])) == alone


def test_strata_count_by_their_shares_whatever_their_sizes() -> None:
    scores = cell([[1, 0, 0, 0, 1]], strata=[0, 1, 1, 1, 1])
    assert scores.by_seed[0] == pytest.approx((1 + 0.25) / 2)


def test_equal_scores_on_few_tasks_are_no_certainty() -> None:
    """Nothing solved by either model in 24 tasks excludes a difference of 20 points, not one of 3."""
    zero = cell([[0.0] * 24, [0.0] * 24])
    found = effect(zero, zero, seed_variance([zero, zero]))
    low, high = found.interval()
    assert low == pytest.approx(-high)
    assert 0.03 < high < 0.2


def test_the_standard_error_is_the_spread_over_repeated_experiments() -> None:
    random = numpy.random.default_rng(5)
    values, squares = [], []
    for _ in range(600):
        first, second = students(random, [0.5, 0.4], Design(tasks=60, seeds=3, trials=2, cells=2), 0.05)
        found = effect(first, second, seed_variance([first, second]))
        values.append(found.value)
        squares.append(found.standard_error**2)
    # The spread of 600 values is known to 3 %; the added tasks and the floor make the estimate a little larger.
    assert 0.97 <= math.sqrt(numpy.mean(squares)) / numpy.std(values) < 1.2


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_as_the_stepwise_procedure(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for alpha in (0.01, 0.05, 0.3):
        rejected = set[int]()
        for step, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
            if p_values[index] * (len(p_values) - step) > alpha:
                break
            rejected.add(index)
        assert {i for i, p in enumerate(adjusted) if p <= alpha} == rejected


@pytest.mark.parametrize(
    ("mean", "design", "between_seeds"),
    [
        (0.4, Design(tasks=24, seeds=2, trials=1, cells=3), 0.03),
        (0.05, Design(tasks=24, seeds=2, trials=1, cells=3), 0.0),
        (0.5, Design(tasks=50, seeds=3, trials=1, cells=3), 0.08),
        (0.4, Design(tasks=114, seeds=3, trials=4, cells=3), 0.03),
    ],
)
def test_no_effect_is_found_where_there_is_none(mean: float, design: Design, between_seeds: float) -> None:
    """A false verdict on any of three differences in at most 5 % of experiments. A procedure with exactly 5 % has more
    than 20 in 200 with a chance of 0.1 %, and one with 15 % has at most 20 with a chance of 2.6 %."""
    random = numpy.random.default_rng(0)
    settled = sum(
        set(decisions(students(random, [mean] * 3, design, between_seeds), None)) != {"unresolved"}
        for _ in range(EXPERIMENTS)
    )
    assert settled <= stats.binom.ppf(0.999, EXPERIMENTS, 0.05)


def test_the_papers_number_is_rarely_contradicted_where_it_is_true() -> None:
    random = numpy.random.default_rng(1)
    contradicted = 0
    for _ in range(EXPERIMENTS):
        cells = students(random, [0.3, 0.4, 0.5], Design(tasks=60, seeds=3, trials=2, cells=3))
        pooled = seed_variance(cells)
        effects = [effect(cells[i], cells[j], pooled) for i, j in ((1, 0), (2, 1))]
        verdicts = judge([Hypothesis(effect=e, claimed=0.1, sign=1) for e in effects], 0.05)
        contradicted += any(verdict.decision == "contradicted" for verdict in verdicts)
    assert contradicted <= stats.binom.ppf(0.999, EXPERIMENTS, 0.05)


def test_planted_effects_are_found() -> None:
    random, large = numpy.random.default_rng(2), Design(tasks=114, seeds=3, trials=4, cells=3)
    found = [decisions(students(random, [0.2, 0.4, 0.6], large), 0.2)[2] for _ in range(EXPERIMENTS)]
    assert found.count("reproduced") >= 0.95 * EXPERIMENTS
    reverse = [decisions(students(random, [0.6, 0.4, 0.2], large), 0.2)[2] for _ in range(EXPERIMENTS)]
    assert reverse.count("contradicted") >= 0.95 * EXPERIMENTS
    none = [
        decisions(students(random, [0.4] * 3, Design(tasks=400, seeds=6, trials=4, cells=3), 0.01), 0.2)
        for _ in range(50)
    ]
    assert sum(verdicts.count("contradicted") for verdicts in none) >= 0.95 * 150


def simulated_power(design: Design, components: Components, difference: float, alpha: float) -> float:
    """The share of simulated experiments whose test shows the difference between the first two cells."""
    random = numpy.random.default_rng(3)
    shown = 0
    for _ in range(EXPERIMENTS):
        difficulty = random.normal(0, components.between_tasks / math.sqrt(2), (design.cells, design.tasks))
        cells = []
        for number in range(design.cells):
            seeds = random.normal(0, components.between_seeds, (design.seeds, 1))
            noise = components.within_trials / math.sqrt(design.trials)
            shift = 0.4 + difference if number == 1 else 0.4
            values: NDArray[numpy.float64] = shift + difficulty[number] + seeds
            cells.append(cell(values + random.normal(0, noise, (design.seeds, design.tasks)), trials=design.trials))
        shown += effect(cells[1], cells[0], seed_variance(cells)).p_value() < alpha
    return shown / EXPERIMENTS


@pytest.mark.parametrize(
    ("design", "difference", "alpha"),
    [
        (Design(tasks=114, seeds=3, trials=4, cells=3), 0.08, 0.05),
        (Design(tasks=50, seeds=4, trials=1, cells=3), 0.16, 0.05 / 6),
        (Design(tasks=200, seeds=2, trials=2, cells=2), 0.1, 0.05),
    ],
)
def test_the_plans_power_is_that_of_simulated_experiments(design: Design, difference: float, alpha: float) -> None:
    components = Components(between_tasks=0.2, between_seeds=0.02, within_trials=0.4)
    planned = power(components, design, difference, alpha)
    assert 0.3 < planned < 0.98, "a case that tells"
    simulated = simulated_power(design, components, difference, alpha)
    # Three standard errors of a share of 200, and the approximation of few degrees of freedom.
    assert simulated == pytest.approx(planned, abs=3 * math.sqrt(planned * (1 - planned) / EXPERIMENTS) + 0.03)


def test_the_smallest_difference_and_design_have_the_wanted_power() -> None:
    components = Components(between_tasks=0.2, between_seeds=0.02, within_trials=0.4)
    design = Design(tasks=114, seeds=3, trials=1, cells=3)
    smallest = smallest_difference(components, design, 0.05)
    assert smallest
    assert power(components, design, smallest, 0.05) == pytest.approx(0.8, abs=0.005)
    designs = smallest_designs(components, 114, 3, 0.08, 0.05)
    assert designs
    for found in designs:
        assert power(components, found, 0.08, 0.05) >= 0.8
    assert [found.seeds for found in designs] == sorted((found.seeds for found in designs), reverse=True)
    assert power(components, Design(tasks=114, seeds=1, trials=16, cells=3), 0.5, 0.05) == 0


def test_components_are_recovered_from_a_large_pilot() -> None:
    random = numpy.random.default_rng(4)
    tasks, seeds, trials = 2000, 12, 8
    difficulty = random.uniform(0.2, 0.8, tasks)
    cells = []
    for _ in range(2):
        chance = difficulty + random.normal(0, 0.1, tasks) + random.normal(0, 0.05, (seeds, 1))
        cells.append(cell(random.binomial(trials, numpy.clip(chance, 0, 1)) / trials, trials=trials))
    found = components_of(cells)
    assert found
    assert found.between_tasks == pytest.approx(0.1 * math.sqrt(2), rel=0.15)
    assert found.between_seeds == pytest.approx(0.05, rel=0.5)
    assert found.within_trials == pytest.approx(math.sqrt(numpy.mean(difficulty * (1 - difficulty))), rel=0.1)
    assert components_of(cells[:1]) is None
