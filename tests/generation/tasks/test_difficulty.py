"""Difficulty is computed from the plan's effort."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dialogue import PlannedCall
from generation.specs.naming import changes
from generation.tasks.difficulty import BANDS, Effort, difficulty, effort


def call(tool: str, **arguments: Any) -> PlannedCall:
    return PlannedCall(tool=tool, arguments=arguments)


LOOK_UP = call("get_order", order_id="W1")
CHAINED = call("update_user", user_id="${0.user_id}", city="Graz")


@pytest.mark.parametrize(
    ("plan", "expected", "name"),
    [
        ([LOOK_UP], (1, 0, 0), "easy"),
        ([LOOK_UP, LOOK_UP], (2, 0, 0), "easy"),
        ([call("cancel_order", order_id="W1")], (1, 0, 1), "easy"),
        ([LOOK_UP, call("get_user", user_id="${0.user_id}")], (2, 1, 0), "medium"),
        ([LOOK_UP, CHAINED], (2, 1, 1), "medium"),
        ([LOOK_UP, CHAINED, LOOK_UP], (3, 1, 1), "medium"),
        ([LOOK_UP, CHAINED, call("cancel_order", order_id="W1")], (3, 1, 2), "hard"),
        ([LOOK_UP] * 6, (6, 0, 0), "hard"),
        ([call("find_user_id"), call("get_user", user_id="${0}")], (2, 1, 0), "medium"),
        # Two placeholders in one call are one dependent call; what only looks like a placeholder is text.
        ([LOOK_UP, call("get_pair", a="${0.x}", b="${0.y}")], (2, 1, 0), "medium"),
        ([call("get_note", text="costs ${0.x} or so", nested=["${0.x}"])], (1, 0, 0), "easy"),
    ],
)
def test_efforts_computed_by_hand(plan: list[PlannedCall], expected: tuple[int, int, int], name: str) -> None:
    result = effort(plan, [changes(planned.tool) for planned in plan])
    assert (result.calls, result.dependencies, result.writes) == expected
    assert difficulty(result) == name


def test_execution_decides_what_was_written() -> None:
    """A call whose name sounds like a change does not count as one if nothing changed."""
    assert difficulty(effort([LOOK_UP, CHAINED], [False, False])) == "medium"
    assert effort([LOOK_UP, CHAINED], [False, False]).score == 3
    with pytest.raises(AssertionError):
        effort([LOOK_UP], [])


def test_the_bands_leave_no_gap() -> None:
    bands = list(BANDS.values())
    assert bands[0][0] == 1
    assert bands[-1][1] is None
    assert all(high is not None and high + 1 == low for (_, high), (low, _) in itertools.pairwise(bands))


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_more_effort_is_never_easier(calls: int, dependencies: int, writes: int) -> None:
    order = list(BANDS)
    level = difficulty(Effort(calls=calls, dependencies=dependencies, writes=writes))
    harder = difficulty(Effort(calls=calls + 1, dependencies=dependencies, writes=writes))
    low, high = BANDS[level]
    score = calls + dependencies + writes
    assert score == 0 or (low <= score and (high is None or score <= high))
    assert order.index(level) <= order.index(harder)
