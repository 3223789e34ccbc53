"""Checks one column's generator: its values, its fit to the column's type, and what it is derived from."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from generation.database.spec import (
    ChoiceValues,
    ColumnSpec,
    CopiedValues,
    DateValues,
    DaysAfterValues,
    EmailValues,
    FlagValues,
    NumberValues,
    PatternValues,
    ProductValues,
    TableSpec,
    TimeValues,
    WordValues,
)
from generation.synthesis.problems import Problem
from generation.synthesis.ranges import days, is_time, parsed_day, slots, steps

_PLAIN = re.compile(r"[\w][\w .,&/+:%°-]{0,59}")
"""An option or word: CHECKs and tools quote it."""
_MOST_OPTIONS = 40
_LARGEST = 1_000_000_000
_MOST_DAYS = 3_650
_MOST_MARKS = 12

Columns = Mapping[str, ColumnSpec]


def generator_problems(
    column: ColumnSpec, before: Columns, table: TableSpec, parents: Mapping[str, TableSpec]
) -> list[Problem]:
    """What is wrong with a column's generator; `before` are the columns of the row that are made earlier."""
    problems = [
        Problem("generators", f"{column.name}: {text}") for text in _value_problems(column, before, table, parents)
    ]
    if problems:
        return problems
    fitting = _types(column, before, table, parents)
    if column.type not in fitting:
        expected = " or ".join(fitting)
        return [
            Problem(
                "types",
                f"{column.name} has type {column.type}, but {column.values.kind} makes {expected}; expected {expected}",
            )
        ]
    return []


def _value_problems(
    column: ColumnSpec, before: Columns, table: TableSpec, parents: Mapping[str, TableSpec]
) -> Iterator[str]:
    match column.values:
        case ProductValues() as values:
            if not 1 <= len(values.of) <= 3:
                yield "of must name one to three columns"
            yield from _source_problems(values.of, before, ("integer", "number"), "a number column")
        case DaysAfterValues() as values:
            if not -_MOST_DAYS <= values.fewest <= values.most <= _MOST_DAYS:
                yield f"fewest must be at most most, both within {_MOST_DAYS} days"
            yield from _source_problems([values.of], before, ("date",), "a date column")
        case EmailValues() as values:
            yield from _source_problems([values.of], before, ("text",), "a text column with names")
        case CopiedValues() as values:
            yield from _copy_problems(values, table, parents)
        case _:
            yield from _own_problems(column)


def _own_problems(column: ColumnSpec) -> Iterator[str]:
    """The problems of a generator that needs no other column."""
    match column.values:
        case ChoiceValues() as values:
            yield from _choice_problems(values)
        case WordValues() as values:
            yield from _word_problems(values, column.unique)
        case PatternValues() as values:
            if not re.fullmatch(r"[A-Za-z0-9 /.#?-]{2,20}", values.pattern) or not 1 <= _marks(values) <= _MOST_MARKS:
                yield (
                    f"pattern {values.pattern[:40]!r}: expected letters and digits, with 1 to {_MOST_MARKS} of # for a "
                    "digit and ? for a letter"
                )
        case NumberValues() as values:
            yield from _number_problems(values)
        case DateValues() as values:
            yield from _date_problems(values)
        case TimeValues() as values:
            if not (is_time(values.first) and is_time(values.last)):
                yield f"first and last must be times such as 08:30, not {values.first[:20]!r} and {values.last[:20]!r}"
            elif not 1 <= values.step_minutes <= 720 or slots(values) < 2:
                yield "first must be earlier than last, by at least step_minutes"
        case FlagValues() as values:
            if not 0.01 <= values.share <= 0.99:
                yield f"share must be between 0.01 and 0.99, not {values.share}"


def _marks(values: PatternValues) -> int:
    return sum(values.pattern.count(mark) for mark in "#?")


def _source_problems(names: Iterable[str], before: Columns, types: Sequence[str], what: str) -> Iterator[str]:
    for name in names:
        if name not in before or before[name].type not in types:
            yield f"of={name!r} must be {what} that stands before it in the list"


def _copy_problems(values: CopiedValues, table: TableSpec, parents: Mapping[str, TableSpec]) -> Iterator[str]:
    reference = next((r for r in table.references if r.column == values.through and r.table != table.name), None)
    if reference is None:
        known = ", ".join(r.column for r in table.references if r.table != table.name) or "none"
        yield f"through={values.through!r} is not a reference to another table; expected one of: {known}"
    elif values.of not in {column.name for column in parents[reference.table].columns}:
        known = ", ".join(column.name for column in parents[reference.table].columns)
        yield f"of={values.of!r} is not a column of {reference.table}; expected one of: {known}"


def _choice_problems(values: ChoiceValues) -> Iterator[str]:
    options = values.options
    if len(set(options)) < 2 or len(set(options)) < len(options) or len(options) > _MOST_OPTIONS:
        yield f"options must be 2 to {_MOST_OPTIONS} different values"
        return
    for option in options:
        if isinstance(option, str) and not _PLAIN.fullmatch(option):
            yield f"option {option[:60]!r}: expected plain words without quotes and brackets"
        elif not isinstance(option, str) and not _is_amount(option):
            yield f"option {option!r}: expected a multiple of 0.01 of at most {_LARGEST}"
    weights = values.weights
    if weights is not None:
        if len(weights) != len(options):
            yield f"there are {len(weights)} weights for {len(options)} options"
        elif any(not math.isfinite(weight) or weight <= 0 for weight in weights):
            yield "every weight must be above 0"


def _word_problems(values: WordValues, unique: bool) -> Iterator[str]:
    parts = values.parts
    if not 1 <= len(parts) <= 4 or any(not 1 <= len(part) <= _MOST_OPTIONS for part in parts):
        yield f"parts must be 1 to 4 lists of 1 to {_MOST_OPTIONS} words each"
        return
    for word in (word for part in parts for word in part):
        if not _PLAIN.fullmatch(word):
            yield f"word {word[:60]!r}: expected plain words without quotes and brackets"
        elif unique and len(parts) > 1 and " " in word:
            yield f"word {word[:60]!r}: the parts of a unique title must be single words"


def _number_problems(values: NumberValues) -> Iterator[str]:
    if not all(map(_is_amount, (values.low, values.high, values.step))) or values.step < 0.01:
        yield f"low, high and step must be multiples of 0.01 of at most {_LARGEST}, step above 0"
    elif steps(values) < 2:
        yield f"low must be below high by at least step, but they are {values.low} and {values.high}"


def _is_amount(number: float) -> bool:
    return math.isfinite(number) and abs(number) <= _LARGEST and abs(number * 100 - round(number * 100)) < 1e-4


def _date_problems(values: DateValues) -> Iterator[str]:
    first, last = parsed_day(values.first), parsed_day(values.last)
    if first is None or last is None:
        yield f"first and last must be days such as 2025-03-04, not {values.first[:20]!r} and {values.last[:20]!r}"
    elif first.year < 1900 or last.year > 2100:
        yield "first and last must lie between 1900 and 2100"
    elif days(values) < 2:
        yield "first must be before last"


def _types(column: ColumnSpec, before: Columns, table: TableSpec, parents: Mapping[str, TableSpec]) -> tuple[str, ...]:
    """The types that fit what a valid generator makes."""
    match column.values:
        case ChoiceValues() as values:
            if isinstance(values.options[0], str):
                return ("text",)
            return (
                ("integer", "number") if all(float(option).is_integer() for option in values.options) else ("number",)
            )
        case NumberValues() as values:
            whole = float(values.low).is_integer() and float(values.step).is_integer()
            return ("integer", "number") if whole else ("number",)
        case DateValues() | DaysAfterValues():
            return ("date",)
        case TimeValues():
            return ("time",)
        case FlagValues():
            return ("boolean",)
        case ProductValues() as values:
            whole = all(before[name].type == "integer" for name in values.of)
            return ("integer", "number") if whole else ("number",)
        case CopiedValues() as values:
            reference = next(reference for reference in table.references if reference.column == values.through)
            return tuple(other.type for other in parents[reference.table].columns if other.name == values.of)
    return ("text",)
