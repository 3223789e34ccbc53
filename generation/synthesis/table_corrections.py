"""Leaves out of a table what cannot be used: the rest of a model's last answer if it does not repair it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from generation.database.spec import TableSpec
from generation.synthesis.limits import Limits
from generation.synthesis.problems import Problem


def usable_part(
    table: TableSpec, problems_of: Callable[[TableSpec], list[Problem]], limits: Limits
) -> tuple[TableSpec, list[str]] | None:
    """The table without the constraints, rows and columns that have problems, and what was left out, each with the
    reason. None if no part within the limits is free of problems."""
    table, left_out = _without_surplus(table, limits.columns[1])
    while problems := problems_of(table):
        first = problems[0]
        parts = (part for part in _smaller(table) if _is_within(part[1], limits))
        usable = next((part for part in parts if first not in problems_of(part[1])), None)
        if usable is None:
            return None
        what, table = usable
        left_out.append(f"{table.name}, {what}: {first.text}")
    return table, left_out


def _without_surplus(table: TableSpec, most: int) -> tuple[TableSpec, list[str]]:
    """The table's first columns, up to twice as many as allowed, since some may have to go: to look for faults in
    hundreds of columns would take minutes."""
    first, surplus = table.columns[: 2 * most], table.columns[2 * most :]
    reason = f"there are {len(table.columns)} columns besides key and references; expected at most {most}"
    left_out = [f"{table.name}, {column.name}: {reason}" for column in surplus]
    return table.model_copy(update={"columns": first}), left_out


def _is_within(table: TableSpec, limits: Limits) -> bool:
    return len(table.columns) >= limits.columns[0] and table.rows >= limits.rows[0]


def _smaller(table: TableSpec) -> Iterator[tuple[str, TableSpec]]:
    """The table without one of its constraints, half of its rows, or one of its columns, from the last one on."""
    for number, check in enumerate(table.checks):
        checks = table.checks[:number] + table.checks[number + 1 :]
        yield f"check of {check.column}", table.model_copy(update={"checks": checks})
    if table.unique_together:
        yield "unique_together", table.model_copy(update={"unique_together": ()})
    for number, column in enumerate(table.columns):
        if column.unique:
            repeated = column.model_copy(update={"unique": False})
            columns = (*table.columns[:number], repeated, *table.columns[number + 1 :])
            yield f"unique of {column.name}", table.model_copy(update={"columns": columns})
    yield "half of the rows", table.model_copy(update={"rows": table.rows // 2})
    for number, column in reversed(list(enumerate(table.columns))):
        columns = table.columns[:number] + table.columns[number + 1 :]
        yield column.name, table.model_copy(update={"columns": columns})
