"""Fills a synthesised database's tables with rows: Faker for texts, numpy for everything with a distribution.

The same spec, seed and package versions give the same rows. Every column has a stream of random numbers of its own, so
that a change to one column leaves the others as they are.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from faker import Faker

from generation.database.spec import (
    ChoiceValues,
    ColumnSpec,
    CopiedValues,
    DatabaseSpec,
    DateValues,
    DaysAfterValues,
    EmailValues,
    FakerValues,
    FlagValues,
    NumberValues,
    PatternValues,
    ProductValues,
    Reference,
    TableSpec,
    TimeValues,
    Values,
    WordValues,
)
from generation.synthesis.faker_texts import texts
from generation.synthesis.ranges import LETTERS, different_values, minutes, shifted

Cell: TypeAlias = "str | int | float | None"
Columns: TypeAlias = dict[str, list[Cell]]
"""Column -> its values, in the order of the rows."""

_SPREAD = 6
"""Standard deviations between the ends of a normal distribution."""


def fill(spec: DatabaseSpec, seed: int) -> dict[str, Columns]:
    """The rows of every table by column, parents first: key, references, columns. `spec` is one that passed the
    checks."""
    filled: dict[str, Columns] = {}
    for table in spec.tables:
        filled[table.name] = _Table(table, filled, f"{seed}/{spec.name}/{table.name}").fill()
    return filled


class _Table:
    """A table while it is filled."""

    def __init__(self, table: TableSpec, filled: dict[str, Columns], seed: str) -> None:
        self.table = table
        self.filled = filled
        self.seed = seed
        self.columns: Columns = {table.key: list(range(1, table.rows + 1))}

    def fill(self) -> Columns:
        together = self._together()
        for reference in self.table.references:
            drawn = together.get(reference.column)
            self.columns[reference.column] = drawn if drawn is not None else self._reference(reference)
        for column in self.table.columns:
            drawn = together.get(column.name)
            self.columns[column.name] = drawn if drawn is not None else self._column(column)
        return self.columns

    def _random(self, name: str) -> np.random.Generator:
        digest = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:16], "big"))

    def _together(self) -> Columns:
        """The columns of `unique_together`: combinations drawn without repetition."""
        names = self.table.unique_together
        references = {reference.column: reference.table for reference in self.table.references}
        columns = {column.name: column.values for column in self.table.columns}
        options = [
            list(range(1, len(next(iter(self.filled[references[name]].values()))) + 1))
            if name in references
            else _closed(columns[name])
            for name in names
        ]
        if not names:
            return {}
        numbers = self._random("together").choice(math.prod(map(len, options)), self.table.rows, replace=False)
        indexes = np.unravel_index(numbers, tuple(map(len, options)))
        return {
            name: [values[i] for i in index.tolist()]
            for name, values, index in zip(names, options, indexes, strict=True)
        }

    def _reference(self, reference: Reference) -> list[Cell]:
        random, rows = self._random(reference.column), self.table.rows
        if reference.table == self.table.name:
            # A row refers to an earlier one: the first one can refer to none.
            drawn: list[Cell] = [None, *(int(random.integers(1, row + 1)) for row in range(1, rows))]
        else:
            parents = len(next(iter(self.filled[reference.table].values())))
            weights = 1 / np.arange(1, parents + 1) if reference.skewed else np.ones(parents)
            order = random.permutation(parents) + 1
            drawn = random.choice(order, rows, p=weights / weights.sum()).tolist()
        return self._with_missing(drawn, reference.missing, random)

    def _column(self, column: ColumnSpec) -> list[Cell]:
        random = self._random(column.name)
        return self._with_missing(self._values(column, random), column.missing, random)

    def _with_missing(self, values: list[Cell], share: float, random: np.random.Generator) -> list[Cell]:
        if not share:
            return values
        return [None if gone else value for value, gone in zip(values, random.random(len(values)) < share, strict=True)]

    def _values(self, column: ColumnSpec, random: np.random.Generator) -> list[Cell]:
        match column.values:
            case ProductValues(of=of):
                factors = [self.columns[name] for name in of]
                products = [None if None in row else math.prod(row) for row in zip(*factors, strict=True)]
                return [_number(value, column.type) for value in products]
            case DaysAfterValues() as values:
                later = random.integers(values.fewest, values.most, self.table.rows, endpoint=True).tolist()
                return [day and shifted(str(day), by) for day, by in zip(self.columns[values.of], later, strict=True)]
            case CopiedValues() as values:
                table = next(r.table for r in self.table.references if r.column == values.through)
                source = self.filled[table][values.of]
                return [key and source[int(key) - 1] for key in self.columns[values.through]]
            case EmailValues(of=of):
                return _addresses(self.columns[of], column.unique, random)
            case FakerValues(provider=provider):
                faker = Faker("en_US")
                faker.seed_instance(int(random.integers(2**32)))
                return list(texts(provider, faker, self.table.rows, column.unique))
        return _independent(column, self.table.rows, random)


def _closed(values: Values) -> list[Cell]:
    return list(values.options) if isinstance(values, ChoiceValues) else [0, 1]


def _independent(column: ColumnSpec, rows: int, random: np.random.Generator) -> list[Cell]:
    """Values that depend on nothing else: numbered, and drawn by number; unique ones without repetition."""
    values = column.values
    if column.unique:
        # choice without replacement would make a list of all codes of a long pattern
        unique: dict[int, None] = {}
        while len(unique) < rows:
            unique |= dict.fromkeys(random.integers(different_values(values), size=rows).tolist())
        numbers = list(unique)[:rows]
    else:
        numbers = _numbers(values, rows, random)
    value_of = _value_of(column)
    return [value_of(number) for number in numbers]


def _numbers(values: Values, rows: int, random: np.random.Generator) -> list[int]:
    size = different_values(values)
    drawn: Any
    match values:
        case ChoiceValues(weights=tuple() as weights):
            drawn = random.choice(size, rows, p=np.array(weights) / sum(weights))
        case FlagValues(share=share):
            drawn = random.random(rows) < share
        case NumberValues(shape="normal"):
            drawn = np.rint(random.normal((size - 1) / 2, max(size - 1, 1) / _SPREAD, rows)).clip(0, size - 1)
        case NumberValues(shape="skewed"):
            drawn = np.floor(random.beta(1, 4, rows) * size).clip(0, size - 1)
        case _:
            drawn = random.integers(size, size=rows)
    return [int(number) for number in drawn]


def _value_of(column: ColumnSpec) -> Callable[[int], Cell]:
    """The value with a number, from 0."""
    match column.values:
        case ChoiceValues(options=options):
            return lambda number: _typed(options[number], column.type)
        case WordValues(parts=parts):
            lists = [list(dict.fromkeys(part)) for part in parts]
            return lambda number: " ".join(
                lists[i][index] for i, index in enumerate(_digits(number, list(map(len, lists))))
            )
        case PatternValues(pattern=pattern):
            return lambda number: _code(pattern, number)
        case NumberValues(low=low, step=step):
            return lambda number: _number(low + step * number, column.type)
        case DateValues(first=first):
            return lambda number: shifted(first, number)
        case TimeValues(first=first, step_minutes=step):
            return lambda number: _clock(minutes(first) + step * number)
    return lambda number: number


def _digits(number: int, bases: Sequence[int]) -> list[int]:
    """The digits of a number whose positions have these bases, the last one counting single steps."""
    digits = []
    for base in reversed(bases):
        number, digit = divmod(number, base)
        digits.append(digit)
    return digits[::-1]


def _code(pattern: str, number: int) -> str:
    bases = [10 if mark == "#" else len(LETTERS) for mark in re.findall(r"[#?]", pattern)]
    digits = iter(_digits(number, bases))
    return "".join(
        str(next(digits)) if mark == "#" else LETTERS[next(digits)] if mark == "?" else mark for mark in pattern
    )


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


def _typed(option: Any, kind: str) -> Cell:
    return option if isinstance(option, str) else _number(option, kind)


def _number(value: Any, kind: str) -> Cell:
    if value is None:
        return None
    return round(value) if kind == "integer" else round(float(value), 2)


def _addresses(names: Sequence[Cell], unique: bool, random: np.random.Generator) -> list[Cell]:
    """E-mail addresses; unique ones are numbered where they would repeat."""
    ends = random.choice(("com", "org", "net"), len(names)).tolist()
    addresses: list[Cell] = []
    used: set[str] = set()
    for name, end in zip(names, ends, strict=True):
        if name is None:
            addresses.append(None)
            continue
        local = ".".join(re.findall(r"[a-z0-9]+", str(name).lower())) or "office"
        address, number = f"{local}@example.{end}", 1
        while unique and address in used:
            number += 1
            address = f"{local}{number}@example.{end}"
        used.add(address)
        addresses.append(address)
    return addresses
