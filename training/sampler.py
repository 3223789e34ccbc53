"""The order of rows over epochs, steps and ranks: equally many micro-steps on every rank, equal work within each."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from torch.utils.data import Sampler

from core.settings import UserError


class PartialRow(NamedTuple):
    """A row of which only the first `targets` trained tokens are learnt."""

    row: int
    targets: int


Item = int | PartialRow | None
"""What a rank trains on in a micro-step: a row, a part of it, or nothing."""

RankRows = tuple[tuple[Item, ...], ...]
"""[rank][micro-step]: a row, or None if there are too few: that rank joins the micro-step with nothing to train."""


def assign_rows(rows: Sequence[int], costs: Sequence[float], ranks: int) -> RankRows:
    """Distribute the rows of one optimizer step over `ranks`. `costs` are the FLOPs (or another measure of time) of
    every row of the data.

    Under ZeRO-3 all ranks wait for each other in every micro-step, so the rows of a micro-step should cost about the
    same: sorting minimises the sum of the micro-steps' maxima. Within a micro-step the costlier rows go to the ranks
    with the smaller totals so far. That balances the totals too, for setups in which ranks wait only at the end of a
    step.
    """
    costliest = sorted(rows, key=costs.__getitem__, reverse=True)
    queue = [*costliest, *[None] * (-len(costliest) % ranks)]
    rank_rows: list[list[Item]] = [[] for _ in range(ranks)]
    totals = [0.0] * ranks
    for first in range(0, len(queue), ranks):
        order = sorted(range(ranks), key=totals.__getitem__)
        for row, rank in zip(queue[first : first + ranks], order, strict=True):
            rank_rows[rank].append(row)
            if row is not None:
                totals[rank] += costs[row]
    return tuple(map(tuple, rank_rows))


class BalancedSampler(Sampler[Item]):
    """Every row once per epoch, in an order that depends only on `seed` and the epoch.

    An optimizer step has `batch` rows, the last one of an epoch the rest. `assign_rows` distributes each step, and the
    ranks' rows are interleaved, because Accelerate deals them out in turn. Each epoch costs one shuffle of the row
    numbers.

    `targets` are the trained tokens of every row. With a `budget`, the training ends with exactly that many of them, in
    step number `budget_steps`: of its rows, the tokens beyond the budget are not learnt.
    """

    def __init__(
        self,
        costs: Sequence[float],
        batch: int,
        ranks: int,
        seed: int,
        targets: Sequence[int] = (),
        budget: int | None = None,
    ) -> None:
        if batch < 1 or batch % ranks:
            raise UserError(f"a batch of {batch} rows was given; expected a multiple of the {ranks} ranks")
        self.costs, self.batch, self.ranks, self.seed, self.targets = costs, batch, ranks, seed, targets
        self._epoch = 0
        self.budget = budget
        self._last_epoch, self._last_step, self._rest = self._find_last_step(budget) if budget else (-1, -1, 0)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration; the Trainer calls this."""
        self._epoch = epoch

    @property
    def steps(self) -> int:
        """Optimizer steps in an epoch."""
        return -(-len(self.costs) // self.batch)

    @property
    def budget_steps(self) -> int | None:
        """The optimizer steps that use up the budget; None without one."""
        return self._last_epoch * self.steps + self._last_step + 1 if self.budget else None

    def trained_tokens(self, steps: int) -> int:
        """The tokens learnt in the first `steps` optimizer steps."""
        epochs, rest = divmod(steps, self.steps)
        last = sum(self._targets_of(rows) for rows, _ in zip(self._whole_steps(epochs), range(rest), strict=False))
        trained = epochs * sum(self.targets) + last
        return min(trained, self.budget) if self.budget else trained

    def epoch_steps(self) -> Iterator[RankRows]:
        """The optimizer steps of the current epoch."""
        for step, rank_rows in enumerate(self._whole_steps(self._epoch)):
            last = (self._epoch, step) == (self._last_epoch, self._last_step)
            yield self._cut(rank_rows) if last else rank_rows

    def _whole_steps(self, epoch: int) -> Iterator[RankRows]:
        order = list(range(len(self.costs)))
        random.Random(f"{self.seed}/{epoch}").shuffle(order)
        for first in range(0, len(order), self.batch):
            yield assign_rows(order[first : first + self.batch], self.costs, self.ranks)

    def _targets_of(self, rank_rows: RankRows) -> int:
        return sum(self.targets[row] for rows in rank_rows for row in rows if isinstance(row, int))

    def _find_last_step(self, budget: int) -> tuple[int, int, int]:
        """(epoch, step of that epoch, tokens to learn in it) in which the budget is used up."""
        epoch, rest = divmod(budget - 1, sum(self.targets))
        step, rest = 0, rest + 1
        for rank_rows in self._whole_steps(epoch):
            trained = self._targets_of(rank_rows)
            if trained >= rest:
                break
            step, rest = step + 1, rest - trained
        return epoch, step, rest

    def _cut(self, rank_rows: RankRows) -> RankRows:
        """The last step, with nothing to learn beyond the budget."""
        rest = self._rest
        cut = [list(rows) for rows in rank_rows]
        for micro_step in range(len(cut[0])):
            for rows in cut:
                row = rows[micro_step]
                if isinstance(row, int):
                    rows[micro_step] = row if self.targets[row] <= rest else PartialRow(row, rest) if rest else None
                    rest -= min(rest, self.targets[row])
        return tuple(map(tuple, cut))

    def __iter__(self) -> Iterator[Item]:
        for rank_rows in self.epoch_steps():
            yield from chain.from_iterable(zip(*rank_rows, strict=True))

    def __len__(self) -> int:
        """Micro-steps of all ranks together in an epoch."""
        return -(-len(self.costs) // self.ranks) * self.ranks
