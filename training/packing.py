"""Pack many short trees into few long rows: best fit, largest first."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from core.settings import UserError

_BITS = 10
"""log2 of the block size: a block of the index below is an integer of 2^10 bits, so finding a space costs two
shifts."""


def pack(sizes: Sequence[int], capacity: int) -> list[list[int]]:
    """Indices into `sizes`, row by row; no row has more than `capacity` tokens, and each index occurs once.

    Best-fit-decreasing: sizes from largest to smallest (equal ones in order), each into the row with the least
    sufficient space (the oldest such row), otherwise into a new row. O(n log n) time for n sizes. Raises UserError for
    a size outside 1 to `capacity`.
    """
    wrong = next((index for index, size in enumerate(sizes) if not 0 < size <= capacity), None)
    if wrong is not None:
        raise UserError(f"item {wrong} has {sizes[wrong]} tokens; expected 1 to {capacity}, the capacity of a row")
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
    """The open rows by the space left in them. A set bit in a block means that rows with that space exist; a set bit in
    `_blocks_used` means that the block is not 0."""

    def __init__(self, capacity: int) -> None:
        self._tree_rows: dict[int, list[int]] = {}
        self._blocks = [0] * ((capacity >> _BITS) + 1)
        self._blocks_used = 0

    def least(self, size: int) -> int | None:
        """The smallest space of at least `size`; None if no row has that much."""
        number, bit = size >> _BITS, size & ((1 << _BITS) - 1)
        if within := self._blocks[number] >> bit:
            return size + _lowest(within)
        beyond = self._blocks_used >> (number + 1)
        if not beyond:
            return None
        number += 1 + _lowest(beyond)
        return (number << _BITS) + _lowest(self._blocks[number])

    def put(self, space: int, row: int) -> None:
        """Add a row with this space left; a full row is dropped."""
        if not space:
            return
        if heap := self._tree_rows.setdefault(space, []):
            heapq.heappush(heap, row)
            return
        heap.append(row)
        number = space >> _BITS
        self._blocks[number] |= 1 << (space & ((1 << _BITS) - 1))
        self._blocks_used |= 1 << number

    def take(self, space: int) -> int:
        """Remove and return the oldest row with exactly this space."""
        heap = self._tree_rows[space]
        row = heapq.heappop(heap)
        if not heap:
            number = space >> _BITS
            self._blocks[number] ^= 1 << (space & ((1 << _BITS) - 1))
            if not self._blocks[number]:
                self._blocks_used ^= 1 << number
        return row


def _lowest(bits: int) -> int:
    """The position of the lowest set bit."""
    return (bits & -bits).bit_length() - 1
