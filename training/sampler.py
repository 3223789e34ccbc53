"""The order of rows over epochs, steps and ranks: equally many micro-steps on every rank, equal work within each."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import chain

from torch.utils.data import Sampler

from core.settings import UserError

RankRows = tuple[tuple[int | None, ...], ...]
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
    rank_rows: list[list[int | None]] = [[] for _ in range(ranks)]
    totals = [0.0] * ranks
    for first in range(0, len(queue), ranks):
        order = sorted(range(ranks), key=totals.__getitem__)
        for row, rank in zip(queue[first : first + ranks], order, strict=True):
            rank_rows[rank].append(row)
            if row is not None:
                totals[rank] += costs[row]
    return tuple(map(tuple, rank_rows))


class BalancedSampler(Sampler[int | None]):
    """Every row once per epoch, in an order that depends only on `seed` and the epoch.

    An optimizer step has `batch` rows, the last one of an epoch the rest. `assign_rows` distributes each step, and the
    ranks' rows are interleaved, because Accelerate deals them out in turn. Each epoch costs one shuffle of the row
    numbers.
    """

    def __init__(self, costs: Sequence[float], batch: int, ranks: int, seed: int) -> None:
        if batch < 1 or batch % ranks:
            raise UserError(f"a batch of {batch} rows was given; expected a multiple of the {ranks} ranks")
        self.costs, self.batch, self.ranks, self.seed = costs, batch, ranks, seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration; the Trainer calls this."""
        self._epoch = epoch

    @property
    def steps(self) -> int:
        """Optimizer steps in an epoch."""
        return -(-len(self.costs) // self.batch)

    def epoch_steps(self) -> Iterator[RankRows]:
        """The optimizer steps of the current epoch."""
        order = list(range(len(self.costs)))
        random.Random(f"{self.seed}/{self._epoch}").shuffle(order)
        for first in range(0, len(order), self.batch):
            yield assign_rows(order[first : first + self.batch], self.costs, self.ranks)

    def __iter__(self) -> Iterator[int | None]:
        for rank_rows in self.epoch_steps():
            yield from chain.from_iterable(zip(*rank_rows, strict=True))

    def __len__(self) -> int:
        """Micro-steps of all ranks together in an epoch."""
        return -(-len(self.costs) // self.ranks) * self.ranks
