"""Rows over ranks: each row once, equal micro-steps, balanced costs, and the same order after a resume."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest
from accelerate.data_loader import BatchSamplerShard, SkipBatchSampler
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from core.settings import UserError
from training.sampler import BalancedSampler, PartialRow, RankRows, assign_rows

COSTS = st.lists(st.floats(1, 1e15), min_size=1, max_size=40)


def step_time(rank_rows: RankRows, costs: list[float]) -> float:
    """The duration of a step in which every micro-step waits for its slowest rank."""
    work = [[0.0 if row is None else costs[row] for row in micro] for micro in zip(*rank_rows, strict=True)]
    return sum(map(max, work))


@given(costs=COSTS, ranks=st.integers(1, 5), rounds=st.integers(1, 4), seed=st.integers(0, 3), epoch=st.integers(0, 3))
def test_every_row_once_an_epoch_in_equal_micro_steps(
    costs: list[float], ranks: int, rounds: int, seed: int, epoch: int
) -> None:
    sampler = BalancedSampler(costs, batch=ranks * rounds, ranks=ranks, seed=seed)
    sampler.set_epoch(epoch)
    steps = list(sampler.epoch_steps())
    assert len(steps) == sampler.steps
    for rank_rows in steps:
        assert len(rank_rows) == ranks
        assert len({len(rows) for rows in rank_rows}) == 1
    flat = list(sampler)
    assert Counter(row for row in flat if row is not None) == Counter(range(len(costs)))
    assert len(flat) == len(sampler)
    assert flat.count(None) == -len(costs) % ranks
    # Dealt out in turn, as Accelerate does, each rank gets its rows of every step.
    for rank in range(ranks):
        assert flat[rank::ranks] == [row for rank_rows in steps for row in rank_rows[rank]]


@given(costs=st.lists(st.integers(1, 100), min_size=4, max_size=6))
def test_no_other_assignment_is_faster(costs: list[int]) -> None:
    floats = [float(cost) for cost in costs]
    rows = range(len(costs))
    best = min(
        sum(max(floats[row] for row in order[first : first + 2]) for first in range(0, len(order), 2))
        for order in itertools.permutations(rows)
    )
    assert step_time(assign_rows(rows, floats, ranks=2), floats) == best


def test_totals_are_balanced_too() -> None:
    costs = [9.0, 8.0, 7.0, 6.0, 5.0, 4.0]
    # 9|8, then the lighter rank gets the larger of 7|6, and of 5|4.
    assert assign_rows(range(6), costs, ranks=2) == ((0, 3, 4), (1, 2, 5))
    draw = random.Random(1)
    many = [draw.lognormvariate(0, 1) for _ in range(64)]
    totals = [sum(many[row] for row in rows if row is not None) for rows in assign_rows(range(64), many, ranks=8)]
    assert max(totals) / min(totals) < 1.6


def test_the_order_depends_only_on_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[int | None]:
        sampler = BalancedSampler([float(cost) for cost in range(23)], batch=4, ranks=2, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(5, 3) == order(5, 3)
    assert list(BalancedSampler([float(cost) for cost in range(23)], batch=4, ranks=2, seed=5)) == order(5, 0)
    assert len({tuple(order(seed, epoch)) for seed in (5, 6) for epoch in (3, 4)}) == 4


def test_accelerate_deals_it_out_and_skips() -> None:
    """Each of two processes gets its rows of every step, also when it resumes after the first step."""
    costs = [float(cost) for cost in range(6)]
    sampler = BalancedSampler(costs, batch=4, ranks=2, seed=0)
    loader = DataLoader(range(6), batch_size=1, sampler=sampler, collate_fn=list)
    shards = [BatchSamplerShard(loader.batch_sampler, 2, process) for process in range(2)]
    drawn = [[row for (row,) in shard] for shard in shards]
    steps = list(sampler.epoch_steps())
    assert drawn == [[row for rank_rows in steps for row in rank_rows[rank]] for rank in range(2)]
    rest = [[row for (row,) in SkipBatchSampler(shard, 2)] for shard in shards]
    assert rest == [list(steps[1][rank]) for rank in range(2)]


def test_a_batch_that_is_not_a_multiple_of_the_ranks_is_refused() -> None:
    with pytest.raises(UserError, match="a batch of 5 rows was given; expected a multiple of the 2 ranks"):
        BalancedSampler([1.0], batch=5, ranks=2, seed=0)


@given(
    targets=st.lists(st.integers(0, 50), min_size=1, max_size=12).filter(any),
    budget=st.integers(1, 1000),
    ranks=st.integers(1, 3),
    rounds=st.integers(1, 3),
)
def test_a_budget_is_used_up_exactly_in_its_last_step(targets: list[int], budget: int, ranks: int, rounds: int) -> None:
    costs = [float(target + 1) for target in targets]
    sampler = BalancedSampler(costs, ranks * rounds, ranks, 3, targets, budget)
    free = BalancedSampler(costs, ranks * rounds, ranks, 3, targets)
    assert sampler.budget_steps
    learnt: list[int] = []
    epoch = 0
    while len(learnt) < sampler.budget_steps:
        sampler.set_epoch(epoch)
        free.set_epoch(epoch)
        for rank_rows, whole in zip(sampler.epoch_steps(), free.epoch_steps(), strict=True):
            items = [item for rows in rank_rows for item in rows]
            parts = [
                item.targets if isinstance(item, PartialRow) else targets[item] for item in items if item is not None
            ]
            learnt.append(sum(parts))
            assert sampler.trained_tokens(len(learnt)) == sum(learnt)
            if len(learnt) < sampler.budget_steps:
                assert rank_rows == whole
                continue
            assert sum(isinstance(item, PartialRow) for item in items) <= 1
            assert {item.row if isinstance(item, PartialRow) else item for item in items if item is not None} <= {
                row for rows in whole for row in rows
            }
            assert len({len(rows) for rows in rank_rows}) == 1
            break
        epoch += 1
    assert sum(learnt) == budget
    assert sum(learnt[:-1]) < budget
