"""Results with a renamed or missing column, or with part of their rows: what remains still fits the schema."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.schemas import schema_error
from generation.environments.distortion import Chance, other_name, partial_view, replace_column

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(["a", "b"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=20,
)
NUMBERS = {"id": {"type": "integer"}, "n": {"type": "integer"}, "m": {"type": "integer"}}
ROW = {"type": "object", "properties": NUMBERS, "required": ["id", "n"]}
RETURNS = {"type": "object", "properties": {"rows": {"type": "array", "items": ROW}}, "required": ["rows"]}


@given(value=JSON, seed=st.integers(0, 50))
@settings(max_examples=200, deadline=None)
def test_a_partial_view_is_part_of_any_value(value: Any, seed: int) -> None:
    visible = partial_view(value, None, Chance((seed,)))
    assert type(visible) is type(value)
    if isinstance(value, list):
        rest = iter(value)
        assert all(any(row == whole or _within(row, whole) for whole in rest) for row in visible)
        assert bool(visible) == bool(value)
    elif isinstance(value, dict):
        assert {key for key in visible if key != "truncated"} == set(value)
        assert (visible == value) is ("truncated" not in visible)
    else:
        assert visible == value


def _within(part: Any, whole: Any) -> bool:
    return isinstance(part, dict) and isinstance(whole, dict) and part.items() <= whole.items()


@given(count=st.integers(0, 6), seed=st.integers(0, 200), closed=st.booleans())
def test_a_partial_view_fits_what_the_tool_declares(count: int, seed: int, closed: bool) -> None:
    value = {"rows": [{"id": number, "n": number, "m": number} for number in range(count)]}
    returns = RETURNS | ({"additionalProperties": False} if closed else {})
    visible = partial_view(value, returns, Chance((seed,)))
    assert schema_error(visible, returns) is None
    assert visible.get("truncated", False) is (visible["rows"] != value["rows"] and not closed)


@pytest.mark.parametrize(
    ("name", "other"),
    [("member_id", "memberId"), ("memberId", "member_id"), ("name", "name_value"), ("_id", "Id"), ("__", "___value")],
)
def test_the_other_name_is_plausible(name: str, other: str) -> None:
    assert other_name(name) == other


def test_a_column_is_removed_or_renamed_in_place() -> None:
    rows = [{"a": 1, "b": 2}, "text", {"b": 3}]
    assert replace_column(rows, "a", "A") == [{"A": 1, "b": 2}, "text", {"b": 3}]
    assert list(replace_column(rows, "a", "A")[0]) == ["A", "b"]
    assert replace_column(rows, "b", None) == [{"a": 1}, "text", {}]
    assert replace_column(7, "b", None) == 7


@given(st.lists(st.text(max_size=5), min_size=1, unique=True), st.integers())
def test_a_pick_does_not_depend_on_the_order(names: list[str], seed: int) -> None:
    chance = Chance((seed,))
    assert chance.pick(names) == chance.pick(names[::-1])
    assert all(0 <= chance(name) < 1 for name in names)
