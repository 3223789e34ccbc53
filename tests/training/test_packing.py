"""Packing against the textbook algorithm, which checks every row for every item."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.settings import UserError
from training.packing import pack


def textbook(sizes: list[int], capacity: int) -> list[list[int]]:
    rows: list[list[int]] = []
    for item in sorted(range(len(sizes)), key=lambda index: (-sizes[index], index)):
        spaces = [capacity - sum(sizes[other] for other in row) for row in rows]
        fitting = [number for number, space in enumerate(spaces) if space >= sizes[item]]
        if not fitting:
            rows.append([])
        rows[min(fitting, key=lambda number: (spaces[number], number)) if fitting else -1].append(item)
    return rows


@given(data=st.data(), capacity=st.sampled_from([1, 7, 40, 1023, 1024, 1025, 5000]))
def test_the_rows_are_those_of_best_fit_decreasing(data: st.DataObject, capacity: int) -> None:
    sizes = data.draw(st.lists(st.integers(1, capacity), max_size=60))
    rows = pack(sizes, capacity)
    assert rows == textbook(sizes, capacity)
    assert sorted(item for row in rows for item in row) == list(range(len(sizes)))
    assert all(sum(sizes[item] for item in row) <= capacity for row in rows)


def test_a_small_example_by_hand() -> None:
    # 7 opens a row, 6 a second; 4 fits only the second and fills it, 3 fills the first, 2 opens a third.
    assert pack([2, 3, 4, 6, 7], 10) == [[4, 1], [3, 2], [0]]
    assert pack([], 10) == []


def test_many_items_are_not_compared_pairwise() -> None:
    # 200,000 items in 80,000 rows: the textbook's 10^10 comparisons would not finish within a test run.
    draw = random.Random(0)
    sizes = [draw.randint(1, 32768) for _ in range(200_000)]
    rows = pack(sizes, 32768)
    assert sum(map(len, rows)) == len(sizes)
    assert sum(sizes) / (len(rows) * 32768) > 0.99


@pytest.mark.parametrize(("sizes", "item", "size"), [([3, 11, 12], 1, 11), ([0], 0, 0), ([5, -1], 1, -1)])
def test_an_item_that_fits_no_row_is_named(sizes: list[int], item: int, size: int) -> None:
    with pytest.raises(UserError, match=f"item {item} has {size} tokens; expected 1 to 10"):
        pack(sizes, 10)
