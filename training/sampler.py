"""Which rank trains which packed row when: equal micro-steps for all ranks, equal work within each."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import chain

from torch.utils.data import Sampler

from core.settings import UserError

RankRows = tuple[tuple[int | None, ...], ...]
"""[rank][micro-step]: a row, or None where the rows do not suffice; that rank then takes part with nothing to train."""


def assign_rows(rows: Sequence[int], costs: Sequence[float], ranks: int) -> RankRows:
    """One optimizer step's rows over `ranks`. `costs` are the FLOPs (or any measure of time) of every row of the data.

    Under ZeRO-3 all ranks wait for each other in every micro-step, so the rows of one micro-step are alike in cost: sorting makes
    the sum of the micro-steps' maxima the least there can be. Within a micro-step the costlier rows go to the ranks that had
    less so far, which balances the totals too, for where only the end of a step is waited for.
    """
    costliest = sorted(rows, key=costs.__getitem__, reverse=True)
    queue = [*costliest, *[None] * (-len(costliest) % ranks)]
    shares: list[list[int | None]] = [[] for _ in range(ranks)]
    totals = [0.0] * ranks
    for first in range(0, len(queue), ranks):
        order = sorted(range(ranks), key=totals.__getitem__)
        for row, rank in zip(queue[first : first + ranks], order, strict=True):
            shares[rank].append(row)
            totals[rank] += 0.0 if row is None else costs[row]
    return tuple(map(tuple, shares))


class BalancedSampler(Sampler[int | None]):
    """Every row once an epoch, in an order that depends on `seed` and epoch alone.

    `batch` rows make an optimizer step, the last one of an epoch has what is left; each step is shared out as `assign_rows` does, and
    the ranks' rows come in turn, which is how Accelerate deals them out. Costs one shuffle of the row numbers an epoch.
    """

    def __init__(self, costs: Sequence[float], batch: int, ranks: int, seed: int) -> None:
        if batch < 1 or batch % ranks:
            raise UserError(f"a batch of {batch} rows was given; a multiple of the {ranks} ranks is expected")
        self.costs, self.batch, self.ranks, self.seed = costs, batch, ranks, seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    @property
    def steps(self) -> int:
        """Optimizer steps in an epoch."""
        return -(-len(self.costs) // self.batch)

    def epoch_steps(self) -> Iterator[RankRows]:
        """The optimizer steps of the epoch set last."""
        order = list(range(len(self.costs)))
        random.Random(f"{self.seed}/{self._epoch}").shuffle(order)
        for first in range(0, len(order), self.batch):
            yield assign_rows(order[first : first + self.batch], self.costs, self.ranks)

    def __iter__(self) -> Iterator[int | None]:
        for shares in self.epoch_steps():
            yield from chain.from_iterable(zip(*shares, strict=True))

    def __len__(self) -> int:
        """Micro-steps of all ranks together."""
        return -(-len(self.costs) // self.ranks) * self.ranks
