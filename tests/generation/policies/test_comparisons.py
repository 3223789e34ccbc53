"""Comparisons of a policy's rules, against Python's own dates and numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.policy import Comparison
from generation.policies.comparisons import arguments_satisfy, equal, field_value, governs, satisfied

NOW = "Tuesday 2025-03-04 10:15"

moments = st.datetimes(datetime(2024, 12, 1), datetime(2025, 6, 1))


def holds(field: str, op: Any, value: Any, row: dict[str, Any], now: str = NOW, **arguments: Any) -> bool:
    return satisfied([Comparison(field=field, op=op, value=value)], row, arguments, now)


@given(one=moments, other=moments)
def test_moments_compare_like_datetimes_cut_to_minutes(one: datetime, other: datetime) -> None:
    row, value = {"at": one.strftime("%Y-%m-%d %H:%M")}, other.strftime("%Y-%m-%dT%H:%M")
    first, second = one.replace(second=0, microsecond=0), other.replace(second=0, microsecond=0)
    assert holds("at", "before", value, row) == (first < second)
    assert holds("at", "after", value, row) == (first > second)


@given(one=moments, other=moments)
def test_a_date_and_a_moment_compare_as_dates(one: datetime, other: datetime) -> None:
    row, now = {"on": one.strftime("%Y-%m-%d")}, other.strftime("%A %Y-%m-%d %H:%M")
    assert holds("on", "before", "${now}", row, now) == (one.date() < other.date())
    assert holds("on", "after", "${now}", row, now) == (one.date() > other.date())


@given(one=moments, now=moments, number=st.integers(0, 60), days=st.booleans(), sign=st.sampled_from("+-"))
def test_times_are_shifted_by_hours_and_days(one: datetime, now: datetime, number: int, days: bool, sign: str) -> None:
    unit = "day" if days else "hour"
    shift = timedelta(**{f"{unit}s": number}) * (1 if sign == "+" else -1)
    value = f"${{now {sign} {number} {unit}{'s' * (number != 1)}}}"
    row = {"at": one.strftime("%Y-%m-%d %H:%M")}
    limit = now.replace(second=0, microsecond=0) + shift
    assert holds("at", "before", value, row, now.strftime("%A %Y-%m-%d %H:%M")) == (
        one.replace(second=0, microsecond=0) < limit
    )


@given(one=st.integers(-50, 50) | st.floats(-50, 50), other=st.integers(-50, 50) | st.floats(-50, 50))
def test_numbers_compare_like_numbers(one: float, other: float) -> None:
    assert holds("n", "at_most", other, {"n": one}) == (one <= other)
    assert holds("n", "at_least", other, {"n": one}) == (one >= other)
    assert equal(one, other) == (one == other)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (5, 5.0, True),
        ("5", 5, True),
        ("5.0", 5, True),
        ("5", "5.0", False),
        ("it\u2019s", "it's", True),
        (None, None, True),
        (None, 0, False),
        (True, 1, True),
        ("five", 5, False),
        ("#W5", 5, False),
    ],
)
def test_equal_values(one: Any, other: Any, same: bool) -> None:
    assert equal(one, other) is same
    assert equal(other, one) is same


@pytest.mark.parametrize(
    ("op", "value", "expected"),
    [
        ("is", None, True),
        ("is_not", "returned", True),
        ("in", [None, "lost"], True),
        ("not_in", ["lost"], True),
        ("is", "lost", False),
        ("at_most", 5, False),
        ("at_least", -5, False),
        ("before", "${now}", False),
        ("after", "${now}", False),
    ],
)
def test_null_and_missing_fields(op: Any, value: Any, expected: bool) -> None:
    assert holds("x", op, value, {"x": None}) is expected
    assert holds("x", op, value, {}) is expected


@pytest.mark.parametrize("write", ["%I:%M %p", "%I:%M%p", "%H:%M"])
@given(one=moments, other=moments)
def test_times_with_am_and_pm_compare_like_those_of_24_hours(one: datetime, other: datetime, write: str) -> None:
    first, second = (at.strftime("%H:%M") for at in (one, other))
    assert holds("at", "before", second, {"at": one.strftime(write)}) == (first < second)
    assert holds("at", "before", other.strftime(f"%Y-%m-%d {write}"), {"at": one.strftime("%Y-%m-%dT%H:%M")}) == (
        one.replace(second=0, microsecond=0) < other.replace(second=0, microsecond=0)
    )


@given(one=moments, other=moments, hours=st.integers(-12, 14), more=st.integers(-12, 14))
def test_offsets_count_where_both_times_have_one(one: datetime, other: datetime, hours: int, more: int) -> None:
    first, second = (
        at.replace(microsecond=0, tzinfo=timezone(timedelta(hours=zone))) for at, zone in ((one, hours), (other, more))
    )
    assert holds("at", "before", second.isoformat(), {"at": first.isoformat()}) == (first < second)
    assert (
        holds("at", "before", first.astimezone(UTC).isoformat().replace("+00:00", "Z"), {"at": first.isoformat()})
        is False
    )
    local = second.replace(tzinfo=None)
    assert holds("at", "before", local.isoformat(), {"at": first.isoformat()}) == (first.replace(tzinfo=None) < local)


@pytest.mark.parametrize("text", ["25:00", "10:61", "13:00 pm", "0:30 am", "2025-03-04 25:10"])
def test_impossible_times_compare_with_nothing(text: str) -> None:
    assert not holds("at", "before", "23:59", {"at": text})
    assert not holds("at", "after", "00:00", {"at": text})


def test_times_of_day_compare_with_the_clock_of_now() -> None:
    assert holds("opens", "before", "${now}", {"opens": "09:00"})
    assert not holds("opens", "before", "${now}", {"opens": "10:15"})
    assert holds("closes", "after", "${now}", {"closes": "18:30"})


def test_paths_lead_through_objects_and_lists() -> None:
    row = {"address": {"city": "Oslo"}, "items": [{"price": 3}, {"price": 8}], "empty": []}
    assert holds("address.city", "is", "Oslo", row)
    assert holds("items.price", "at_most", 8, row)
    assert not holds("items.price", "at_most", 7, row)  # not all of them
    assert holds("count of items", "is", 2, row)
    assert holds("count of empty", "at_most", 0, row)
    assert holds("count of items", "is", "${count of chosen}", row, chosen=["a", "b"])
    assert field_value(row, "count of address.city") is None


def test_arguments_that_are_left_out() -> None:
    limit = Comparison(field="amount", op="at_most", value=5)
    reason = Comparison(field="reason", op="is_not", value=None)
    assert arguments_satisfy([limit], {}, NOW)
    assert not arguments_satisfy([reason], {}, NOW)
    assert arguments_satisfy([reason], {"reason": "late"}, NOW)
    assert not governs([limit], {}, NOW)
    assert governs([limit], {"amount": 5}, NOW)
    assert not governs([Comparison(field="amount", op="is", value="${other}")], {"amount": 5}, NOW)
    assert holds("owner", "is", "${owner}", {"owner": 5})  # the call names no owner: nothing to compare
    assert not holds("owner", "is", "${owner}", {"owner": 5}, owner=6)
