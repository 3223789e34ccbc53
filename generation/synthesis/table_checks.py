"""Checks a table's columns, constraints and uniqueness against its outline and the tables that it refers to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from generation.database.spec import (
    Check,
    ChoiceValues,
    ColumnSpec,
    CopiedValues,
    EmailValues,
    FlagValues,
    NumberValues,
    TableSpec,
)
from generation.synthesis.generator_checks import generator_problems
from generation.synthesis.limits import Limits
from generation.synthesis.outline_checks import MAX_MISSING
from generation.synthesis.problems import Problem, name_problems
from generation.synthesis.ranges import Bound, Bounds, bounds, different_values, names_rows, quantity

_LARGEST_PRODUCT = 1_000_000_000_000
_MOST_TOGETHER = 4
_MOST_COMBINATIONS = 2**62  # numpy counts them in 64 bits

Parents: TypeAlias = Mapping[str, TableSpec]
"""The complete tables by name."""


def table_problems(table: TableSpec, parents: Parents, limits: Limits) -> list[Problem]:
    """Everything wrong with a table whose outline is in order and whose parents are complete."""
    problems = list(_name_problems(table))
    fewest, most = limits.columns
    if not fewest <= len(table.columns) <= most:
        problems.append(
            Problem(
                "size",
                f"there are {len(table.columns)} columns besides key and references; expected {fewest} to {most}",
            )
        )
    before: dict[str, ColumnSpec] = {}
    for column in table.columns:
        problems += generator_problems(column, before, table, parents)
        before[column.name] = column
    if problems:
        return problems
    for column in table.columns:
        problems += _unique_problems(column, table)
        problems += _product_problems(column, table, parents)
    problems += _together_problems(table, parents)
    for check in table.checks:
        problems += _check_problems(check, table, parents)
    problems += _variety_problems(table)
    return problems


def _name_problems(table: TableSpec) -> Iterator[Problem]:
    used = set(table.key_columns)
    for column in table.columns:
        yield from name_problems(column.name, "column")
        if column.name in used:
            yield Problem("names", f"two columns are named {column.name!r}")
        used.add(column.name)
        if not 0 <= column.missing <= MAX_MISSING:
            yield Problem("generators", f"{column.name}: missing must be 0 to {MAX_MISSING}, not {column.missing}")


def _unique_problems(column: ColumnSpec, table: TableSpec) -> Iterator[Problem]:
    values = column.values
    if not column.unique or isinstance(values, EmailValues):  # addresses are numbered where they would repeat
        return
    count = different_values(values)
    if not count:
        yield Problem("constraints", f"{column.name}: a {values.kind} column cannot be unique")
    elif count < 2 * table.rows:
        yield Problem(
            "constraints",
            f"{column.name} is unique in {table.rows} rows, but its generator has only {count} values; it needs twice as "
            "many as there are rows",
        )
    elif isinstance(values, NumberValues) and values.shape != "uniform":
        yield Problem("constraints", f"{column.name}: unique numbers must have the shape uniform")


def _product_problems(column: ColumnSpec, table: TableSpec, parents: Parents) -> Iterator[Problem]:
    """A product must stay far below what SQLite can store exactly."""
    if column.values.kind == "product":
        product = column_bounds(column, table, parents)
        if product is None or any(isinstance(bound, str) or abs(bound) > _LARGEST_PRODUCT for bound in product):
            yield Problem("generators", f"{column.name}: the product may exceed {_LARGEST_PRODUCT:,}")


def _together_problems(table: TableSpec, parents: Parents) -> Iterator[Problem]:
    if not table.unique_together:
        return
    names, sizes = table.unique_together, list[int]()
    references = {reference.column: reference for reference in table.references}
    columns = {column.name: column for column in table.columns}
    if len(names) < 2 or len(set(names)) < len(names):
        yield Problem("constraints", "unique_together needs at least two different columns")
    if len(names) > _MOST_TOGETHER:
        yield Problem("constraints", f"unique_together has {len(names)} columns; expected at most {_MOST_TOGETHER}")
    for name in names:
        if name in references:
            reference = references[name]
            if reference.missing or reference.table == table.name:
                yield Problem(
                    "constraints", f"unique_together: {name} must refer to another table and never be missing"
                )
            else:
                sizes.append(parents[reference.table].rows)
        elif name in columns and isinstance(columns[name].values, ChoiceValues | FlagValues):
            if columns[name].missing or columns[name].unique:
                yield Problem("constraints", f"unique_together: {name} must never be missing, nor be unique by itself")
            sizes.append(different_values(columns[name].values))
        else:
            yield Problem("constraints", f"unique_together: {name!r} is neither a reference nor a column of choices")
    if math.prod(sizes) > _MOST_COMBINATIONS:
        yield Problem("constraints", "unique_together: there are too many combinations; take fewer columns")
    if len(sizes) == len(names) and math.prod(sizes) < 2 * table.rows:
        yield Problem(
            "constraints",
            f"unique_together: there are only {math.prod(sizes)} combinations of {', '.join(names)} for {table.rows} rows; "
            "there must be twice as many as rows",
        )


def _check_problems(check: Check, table: TableSpec, parents: Parents) -> Iterator[Problem]:
    """A CHECK must hold in every row that the generators can make."""
    what = f"check {check.column} {check.op} {check.other if check.value is None else check.value}"
    columns = {column.name: column for column in table.columns}
    if (check.value is None) == (check.other is None):
        yield Problem("constraints", f"{what}: exactly one of value and other is needed")
        return
    unknown = [name for name in (check.column, check.other) if name is not None and name not in columns]
    if unknown:
        yield Problem("constraints", f"{what}: {unknown[0]!r} is not one of the columns")
        return
    left = column_bounds(columns[check.column], table, parents)
    right = column_bounds(columns[check.other], table, parents) if check.other else _literal_bounds(check.value)
    if left is None or right is None or quantity(left[0]) != quantity(right[0]):
        yield Problem("constraints", f"{what}: only numbers, dates and times can be compared, each with its own kind")
    elif not _holds(left, check.op, right) and not _derived_holds(check, columns):
        yield Problem(
            "constraints",
            f"{what}: the generator of {check.column} makes {left[0]} to {left[1]}, so some rows would break it",
        )


def column_bounds(column: ColumnSpec, table: TableSpec, parents: Parents) -> Bounds | None:
    columns = {other.name: other for other in table.columns}
    return bounds(column.values, columns, referred_columns(table, parents))


def referred_columns(table: TableSpec, parents: Parents) -> dict[str, dict[str, ColumnSpec]]:
    """Reference column -> the columns of its table by name; without references to the table itself."""
    return {
        reference.column: {column.name: column for column in parents[reference.table].columns}
        for reference in table.references
        if reference.table in parents and reference.table != table.name
    }


def _literal_bounds(value: Bound | None) -> Bounds | None:
    return None if value is None or quantity(value) is None else (value, value)


def _holds(left: Bounds, op: str, right: Bounds) -> bool:
    """Whether a comparison holds for all values between the bounds, which are of one kind."""
    smaller, larger = (right[1], left[0]) if op in (">", ">=") else (left[1], right[0])
    if smaller == larger:
        return op in (">=", "<=")
    if isinstance(smaller, str) or isinstance(larger, str):
        return isinstance(smaller, str) and isinstance(larger, str) and smaller < larger
    return smaller < larger


def _derived_holds(check: Check, columns: Mapping[str, ColumnSpec]) -> bool:
    """Whether one column is made from the other so that the comparison holds."""
    if check.other is None:
        return False
    flipped = {">": "<", ">=": "<=", "<": ">", "<=": ">="}
    for later, op, earlier in ((check.column, check.op, check.other), (check.other, flipped[check.op], check.column)):
        values = columns[later].values
        if values.kind != "days_after" or values.of != earlier:
            continue
        signs = {">": values.fewest > 0, ">=": values.fewest >= 0, "<": values.most < 0, "<=": values.most <= 0}
        if signs[op]:
            return True
    return False


def _variety_problems(table: TableSpec) -> Iterator[Problem]:
    """People must be able to tell rows apart: a table that refers to no other names its rows."""
    texts = [column for column in table.columns if column.type == "text" and not column.missing]
    named = [c for c in texts if isinstance(c.values, EmailValues) or names_rows(c.values, table.rows)]
    if not table.references and not named:
        yield Problem(
            "variety",
            f"no column names a {table.noun.replace('_', ' ')}: one text column needs many values (faker, words or "
            f"pattern, at least {math.ceil(table.rows / 2)} different ones)",
        )


def is_nullable(column: ColumnSpec, table: TableSpec, parents: Parents) -> bool:
    """Whether rows may lack a value: it is missing, or derived from what is missing."""
    if column.missing:
        return True
    columns = {other.name: other for other in table.columns}
    values = column.values
    match values.kind:
        case "product":
            return any(is_nullable(columns[name], table, parents) for name in values.of)
        case "days_after" | "email":
            return is_nullable(columns[values.of], table, parents)
    if isinstance(values, CopiedValues):
        reference = next(reference for reference in table.references if reference.column == values.through)
        parent = parents[reference.table]
        of = next(other for other in parent.columns if other.name == values.of)
        return bool(reference.missing) or is_nullable(of, parent, parents)
    return False
