"""Decides the comparisons of a policy's rules: a field's values against a literal, an argument or the time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from core.policy import Comparison
from core.typography import fold, same_values
from generation.policies.moments import before, is_time, time_of

COUNT = "count of "
"""What a field starts with that is the length of a list."""
_REFERENCE = re.compile(r"^\$\{([^}]+)\}$")


class _LeftOutError(LookupError):
    """A reference to an argument that the call does not have, or to a time that is not known."""


def reference(value: Any) -> str | None:
    """What a value refers to, "now" or an argument: "${due_on}" -> "due_on"; None for a literal."""
    match = _REFERENCE.match(value) if isinstance(value, str) else None
    return match[1] if match else None


def counted(field: str) -> str:
    """The list that a field counts: "count of items" -> "items"; "" for any other field."""
    return field.removeprefix(COUNT) if field.startswith(COUNT) else ""


def satisfied(
    comparisons: Sequence[Comparison], fields: Mapping[str, Any], arguments: Mapping[str, Any], now: str
) -> bool:
    """Whether a row satisfies all comparisons. Those with an argument that is left out, or with the time where it is
    not known, are satisfied."""
    return all(_satisfies(comparison, fields, arguments, now) for comparison in comparisons)


def arguments_satisfy(comparisons: Sequence[Comparison], arguments: Mapping[str, Any], now: str) -> bool:
    """Whether a call's arguments satisfy all comparisons; one that is left out satisfies everything but is_not null."""
    given = [c for c in comparisons if c.value is None or field_value(arguments, c.field) is not None]
    return satisfied(given, arguments, arguments, now)


def governs(when: Sequence[Comparison], arguments: Mapping[str, Any], now: str) -> bool:
    """Whether a rule governs a call with these arguments. A reference without a value is never met."""
    return all(_satisfies(comparison, arguments, arguments, now, left_out=False) for comparison in when)


def exempts(exceptions: Sequence[Comparison], row: Mapping[str, Any], arguments: Mapping[str, Any], now: str) -> bool:
    """Whether a row is one of a rule's exceptions. One that refers to an argument that is left out exempts nothing."""
    return any(_satisfies(exception, row, arguments, now, left_out=False) for exception in exceptions)


def _satisfies(
    comparison: Comparison, fields: Mapping[str, Any], arguments: Mapping[str, Any], now: str, left_out: bool = True
) -> bool:
    """`left_out` is the result for a comparison with an argument that is left out."""
    try:
        against = _resolved(comparison.value, arguments, now)
    except _LeftOutError:
        return left_out
    return _compares(comparison, field_value(fields, comparison.field), against)


def _resolved(value: Any, arguments: Mapping[str, Any], now: str) -> Any:
    """The literal that a comparison's value stands for. Raises _LeftOutError."""
    if isinstance(value, list | tuple):
        known = []
        for item in value:
            with suppress(_LeftOutError):
                known.append(_resolved(item, arguments, now))
        if value and not known:
            raise _LeftOutError(str(value))
        return known
    name = reference(value)
    if name is None:
        return value
    found = time_of(name, now) if is_time(name) else field_value(arguments, name)
    if found is None:
        raise _LeftOutError(name)
    return found


def field_value(fields: Mapping[str, Any], field: str) -> Any:
    """The value of a field of a row or of arguments; a list of all values where its path leads through a list. None if
    there is none.

    >>> field_value({"flights": [{"date": "2024-05-01"}, {"date": "2024-05-02"}]}, "flights.date")
    ['2024-05-01', '2024-05-02']
    >>> field_value({"flights": [{}, {}]}, "count of flights")
    2
    """
    if listed := counted(field):
        value = field_value(fields, listed)
        return len(value) if isinstance(value, list | dict) else None
    if field in fields:
        return fields[field]
    value = fields
    for part in field.split("."):
        value = _part(value, part)
    return value


def _part(value: Any, name: str) -> Any:
    if isinstance(value, list):
        parts = [_part(item, name) for item in value]
        return [p for part in parts for p in (part if isinstance(part, list) else [part])]
    return value.get(name) if isinstance(value, Mapping) else None


def _compares(comparison: Comparison, value: Any, against: Any) -> bool:
    """Whether a value, or each member of a list, satisfies the comparison."""
    if isinstance(value, list) and not (comparison.op in ("is", "is_not") and isinstance(against, list)):
        return all(_compares(comparison, item, against) for item in value)
    match comparison.op:
        case "is":
            return equal(value, against)
        case "is_not":
            return not equal(value, against)
        case "in":
            return any(equal(value, item) for item in against)
        case "not_in":
            return not any(equal(value, item) for item in against)
        case "at_most" | "at_least":
            one, other = number(value), number(against)
            if one is None or other is None:
                return False
            return one <= other if comparison.op == "at_most" else one >= other
        case "before" | "after":
            return before(value, against) if comparison.op == "before" else before(against, value)


def equal(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same, but for typography and for numbers that are written as text: 5, 5.0 and
    "5"."""
    if same_values(one, other):
        return True
    if isinstance(one, str) == isinstance(other, str):
        return False
    numbers = number(one), number(other)
    return None not in numbers and numbers[0] == numbers[1]


def number(value: Any) -> float | int | None:
    """A number, also one that is written as text; None for anything else."""
    if isinstance(value, str):
        try:
            return float(fold(value)) if re.fullmatch(r"-?\d+(\.\d+)?", fold(value).strip()) else None
        except ValueError:
            return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
