"""What a generator can make, without making it: how many different values, and between which bounds."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Literal

from generation.database.spec import (
    ChoiceValues,
    ColumnSpec,
    CopiedValues,
    DateValues,
    DaysAfterValues,
    FakerValues,
    FlagValues,
    NumberValues,
    PatternValues,
    ProductValues,
    TimeValues,
    Values,
    WordValues,
)

Bound = float | str
Bounds = tuple[Bound, Bound]
"""The lowest and highest possible value: numbers, or ISO dates and times, which sort as text."""

LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"
"""Of codes: without I, O and Q, which read like digits."""

_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")

_FAKER_VALUES = {
    "person": 50_000, "company": 20_000, "city": 5_000, "street_address": 100_000, "postcode": 20_000,
    "phone": 60_000, "url": 20_000, "username": 20_000, "licence_plate": 100_000, "iban": 1_000_000,
    "isbn": 1_000_000, "sentence": 100_000, "first_name": 300, "last_name": 500, "job": 400, "country": 150,
    "colour": 80, "state": 50,
}  # fmt: skip
"""At least so many values of a provider turn up before repetitions are the rule."""


def steps(values: NumberValues) -> int:
    """How many multiples of the step lie in the range."""
    return math.floor((values.high - values.low) / values.step + 1e-9) + 1


def is_time(text: str) -> bool:
    """Whether a text is HH:MM."""
    return _TIME.fullmatch(text) is not None


def parsed_day(text: str) -> date | None:
    """The day that is written as YYYY-MM-DD, which sorts as text; None for any other text, ISO weeks among them."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if day.isoformat() == text else None


def quantity(bound: Bound) -> Literal["number", "date", "time"] | None:
    """What a bound measures; only bounds of the same quantity can be compared. None for any other text."""
    if not isinstance(bound, str):
        return "number"
    return "time" if is_time(bound) else "date" if parsed_day(bound) else None


def minutes(time: str) -> int:
    """Minutes since midnight of HH:MM."""
    return int(time[:2]) * 60 + int(time[3:])


def slots(values: TimeValues) -> int:
    return (minutes(values.last) - minutes(values.first)) // values.step_minutes + 1


def days(values: DateValues) -> int:
    return (date.fromisoformat(values.last) - date.fromisoformat(values.first)).days + 1


def different_values(values: Values) -> int:
    """How many values an independent generator has; 0 for a derived one, which depends on its row."""
    match values:
        case FakerValues():
            return _FAKER_VALUES[values.provider]
        case ChoiceValues():
            return len(set(values.options))
        case WordValues():
            return math.prod(len(set(part)) for part in values.parts)
        case PatternValues():
            return math.prod(10 if mark == "#" else len(LETTERS) for mark in re.findall(r"[#?]", values.pattern))
        case NumberValues():
            return steps(values)
        case DateValues():
            return days(values)
        case TimeValues():
            return slots(values)
        case FlagValues():
            return 2
    return 0


def names_rows(values: Values, rows: int) -> bool:
    """Whether people can tell so many rows apart by these values, which at most two rows share on average."""
    return 2 * different_values(values) >= rows


def bounds(
    values: Values, columns: Mapping[str, ColumnSpec], parents: Mapping[str, Mapping[str, ColumnSpec]]
) -> Bounds | None:
    """The lowest and highest value of a generator; None if its values have no order that a CHECK could use.

    `columns` are those of the table by name, `parents` those of the table to which each reference leads.
    """
    match values:
        case NumberValues():
            return round(values.low, 2), round(values.low + (steps(values) - 1) * values.step, 2)
        case ChoiceValues() if not isinstance(values.options[0], str):
            numbers = [float(option) for option in values.options]
            return min(numbers), max(numbers)
        case FlagValues():
            return 0.0, 1.0
        case DateValues():
            return values.first, values.last
        case TimeValues():
            return values.first, values.last
        case DaysAfterValues() if values.of in columns:
            of = bounds(columns[values.of].values, columns, parents)
            if of and isinstance(of[0], str) and isinstance(of[1], str):
                return shifted(of[0], values.fewest), shifted(of[1], values.most)
        case ProductValues():
            return _product(values, columns, parents)
        case CopiedValues() if values.through in parents and values.of in parents[values.through]:
            parent = parents[values.through]
            return bounds(parent[values.of].values, parent, {})
    return None


def _product(
    values: ProductValues, columns: Mapping[str, ColumnSpec], parents: Mapping[str, Mapping[str, ColumnSpec]]
) -> Bounds | None:
    low = high = 1.0
    for name in values.of:
        of = bounds(columns[name].values, columns, parents) if name in columns else None
        if of is None or isinstance(of[0], str) or isinstance(of[1], str):
            return None
        ends = [a * b for a in (low, high) for b in (of[0], of[1])]
        low, high = min(ends), max(ends)
    return round(low, 2), round(high, 2)


def shifted(day: str, by: int) -> str:
    return (date.fromisoformat(day) + timedelta(days=by)).isoformat()
