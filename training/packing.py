"""Many short trees in few long rows: best fit, the largest first."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from core.settings import UserError

_BITS = 10
"""A block of the index below is a number of 2^10 bits: finding a space costs two shifts, whatever the capacity is."""


def pack(sizes: Sequence[int], capacity: int) -> list[list[int]]:
    """Indices into `sizes`, row by row; no row holds more than `capacity` tokens, each index occurs once.

    Best-fit-decreasing: sizes from the largest to the smallest (equal ones in their order), each into the row with the least space
    that takes it (of several the one opened first), else into a new row. n sizes take O(n log n) time. Raises UserError for a
    size that is not within 1 to `capacity`.
    """
    wrong = next((index for index, size in enumerate(sizes) if not 0 < size <= capacity), None)
    if wrong is not None:
        raise UserError(
            f"item {wrong} has {sizes[wrong]} tokens; 1 to {capacity}, which is what a row holds, are expected"
        )
    rows: list[list[int]] = []
    spaces = _Spaces(capacity)
    for item in sorted(range(len(sizes)), key=sizes.__getitem__, reverse=True):
        space = spaces.least(sizes[item])
        if space is None:
            row, space = len(rows), capacity
            rows.append([])
        else:
            row = spaces.take(space)
        rows[row].append(item)
        spaces.put(space - sizes[item], row)
    return rows


class _Spaces:
    """The open rows by the space left in them. A bit says that rows with that space are there, a bit in `_blocks_used` that
    its block has any."""

    def __init__(self, capacity: int) -> None:
        self._rows: dict[int, list[int]] = {}
        self._blocks = [0] * ((capacity >> _BITS) + 1)
        self._blocks_used = 0

    def least(self, size: int) -> int | None:
        """The smallest space that takes `size`."""
        number, bit = size >> _BITS, size & ((1 << _BITS) - 1)
        if within := self._blocks[number] >> bit:
            return size + _lowest(within)
        beyond = self._blocks_used >> (number + 1)
        if not beyond:
            return None
        number += 1 + _lowest(beyond)
        return (number << _BITS) + _lowest(self._blocks[number])

    def put(self, space: int, row: int) -> None:
        if not space:
            return
        if heap := self._rows.setdefault(space, []):
            heapq.heappush(heap, row)
            return
        heap.append(row)
        number = space >> _BITS
        self._blocks[number] |= 1 << (space & ((1 << _BITS) - 1))
        self._blocks_used |= 1 << number

    def take(self, space: int) -> int:
        """Of the rows with just this space the one opened first."""
        heap = self._rows[space]
        row = heapq.heappop(heap)
        if not heap:
            number = space >> _BITS
            self._blocks[number] ^= 1 << (space & ((1 << _BITS) - 1))
            if not self._blocks[number]:
                self._blocks_used ^= 1 << number
        return row


def _lowest(bits: int) -> int:
    """The position of the lowest bit that is set."""
    return (bits & -bits).bit_length() - 1
