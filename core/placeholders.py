"""Placeholders in plans: arguments and answers that follow from the results of earlier calls of the same task.

- "${0.customer_id}": that field in the result of call 0, "${0.address.city}" a field of an object in it; "${0}" the
  complete result if it is a single value. A list with one row counts as that row.
- "${lowest price of 0,1: flight_id}", "${highest price of 2: flight_id}": a field of the one row, among the rows of
  these calls, whose price is the lowest or highest.
- "${where city is Oslo of 0: customer_id}": a field of the one row whose city is Oslo.
- "${count of 0}", "${sum of 0,1: amount}", "${average of 0: amount}": computed over all rows of these calls.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.typography import same_values

_FIELD = re.compile(r"^\$\{(\d+)(?:\.([^}]+))?\}$")
_DERIVED = re.compile(
    r"^\$\{(?:(?P<function>count|sum|average)|(?P<choice>lowest|highest) (?P<by>[^\s:}]+)"
    r"|where (?P<test>[^\s:}]+) is (?P<value>[^}]+?)) of (?P<calls>\d+(?:, ?\d+)*)"
    r"(?:: ?(?P<field>[^\s:}]+))?\}$"
)
_DIGITS = 6
"""Decimal places of sums and averages, beyond which binary fractions differ from what people compute."""


@dataclass(frozen=True)
class Placeholder:
    """A parsed placeholder. `function` is "" for a field of one result, else what is computed over the rows of `calls`,
    or how one of them is chosen: lowest and highest compare the field `by`, in where it has the `value`."""

    calls: tuple[int, ...]
    field: str | None
    function: str = ""
    by: str | None = None
    value: str = ""

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that it reads."""
        return tuple(name for name in (self.by, self.field) if name is not None)


def placeholder(value: Any) -> Placeholder | None:
    """Parse an argument; None if it is not a placeholder."""
    if not isinstance(value, str) or not value.startswith("${"):
        return None
    if match := _FIELD.match(value):
        return Placeholder((int(match[1]),), match[2])
    match = _DERIVED.match(value)
    if not match or (match["function"] == "count") == bool(match["field"]):
        return None
    calls = tuple(int(number) for number in match["calls"].split(","))
    if match["test"]:
        return Placeholder(calls, match["field"], "where", match["test"], match["value"])
    return Placeholder(calls, match["field"], match["function"] or match["choice"], match["by"])


def resolve_arguments(arguments: dict[str, Any], results: Mapping[int, Any]) -> dict[str, Any]:
    """Fill the placeholders of a planned call from earlier results (plan index -> result value).

    Raises LookupError if a call, row or field is missing, if a list of several rows is used as one, if rows cannot be
    compared, and if the lowest or highest value is that of several rows.
    """
    return {name: resolve(value, results) for name, value in arguments.items()}


def resolve(value: Any, results: Mapping[int, Any]) -> Any:
    """An argument with its placeholder filled, as in resolve_arguments."""
    parsed = placeholder(value)
    if not parsed:
        return value
    return _derived(value, parsed, results) if parsed.function else _field(value, parsed, results)


def _field(text: str, parsed: Placeholder, results: Mapping[int, Any]) -> Any:
    call, result = parsed.calls[0], results[parsed.calls[0]]
    if parsed.field is None:
        if isinstance(result, dict | list):
            raise LookupError(f"{text}: the result of call {call} is not a single value; name one of its fields")
        return result
    if isinstance(result, dict) and parsed.field in result:
        return result[parsed.field]
    for part in parsed.field.split("."):
        if isinstance(result, list):
            if len(result) != 1:
                raise LookupError(f"{text} needs one row, call {call} returned {len(result)}")
            result = result[0]
        if not isinstance(result, dict) or part not in result:
            raise LookupError(f"{text}: the result of call {call} has no field {parsed.field!r}")
        result = result[part]
    return result


def rows_of(result: Any) -> list[Any]:
    """The rows of a result: a list's members, else the result itself."""
    return result if isinstance(result, list) else [result]


def _derived(text: str, parsed: Placeholder, results: Mapping[int, Any]) -> Any:
    rows = [row for call in parsed.calls for row in rows_of(results[call])]
    if parsed.function == "count":
        return len(rows)
    for row in rows:
        if missing := [name for name in parsed.fields if not isinstance(row, dict) or name not in row]:
            raise LookupError(f"{text}: a row has no field {missing[0]!r}")
    if not rows:
        raise LookupError(f"{text}: the calls returned no rows")
    assert parsed.field is not None, "only count needs no field"
    if parsed.by is None:
        return _computed(text, parsed.function, [row[parsed.field] for row in rows])
    return _chosen(text, parsed, parsed.by, parsed.field, rows)[parsed.field]


def _computed(text: str, function: str, values: Sequence[Any]) -> float | int:
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        raise LookupError(f"{text}: not every value is a number")
    total = sum(values)
    if function == "average":
        total = total / len(values)
    return round(total, _DIGITS) if isinstance(total, float) else total


def _chosen(text: str, parsed: Placeholder, by: str, field: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The row with the lowest, the highest or a given value; rows without a value do not take part."""
    valued = [row for row in rows if row[by] is not None]
    if parsed.function == "where":
        fitting = [row for row in valued if same_values(str(row[by]).casefold(), parsed.value.casefold())]
    else:
        choose: Callable[..., Any] = min if parsed.function == "lowest" else max
        try:
            best = choose(row[by] for row in valued)
        except (TypeError, ValueError):
            raise LookupError(f"{text}: its values cannot be compared") from None
        fitting = [row for row in valued if row[by] == best]
    if not fitting:
        raise LookupError(f"{text}: no row has that {by}")
    if any(row[field] != fitting[0][field] for row in fitting):
        raise LookupError(f"{text}: {len(fitting)} rows fit")
    return fitting[0]
