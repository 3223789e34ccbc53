"""Draws arguments to try a tool with, from the data of the columns that its parameters are used with."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from core.messages import ToolSpec
from core.schemas import schema_error
from generation.database.image import Image
from generation.database.sandbox import Sandbox
from generation.database.tables import TableShape, quoted

_SAMPLE_SIZE = 40  # rows of a table, or values of a column
_ATTEMPTS = 20
_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Like, exp.Glob, exp.Between, exp.In)


@dataclass(frozen=True)
class ColumnUse:
    """The column that a parameter is compared with or inserted into.

    `exact`: both have values of one kind, as with = and <, but not with LIKE or inside a function.
    """

    table: TableShape
    column: str
    inserted: bool
    exact: bool


def target_table(insert: exp.Insert, image: Image) -> TableShape:
    """The table that an INSERT writes to. The statement was compiled before, so the table exists."""
    table = insert.this.this if isinstance(insert.this, exp.Schema) else insert.this
    shape = image.table(table.name)
    assert shape is not None
    return shape


class Sampler:
    """Draws arguments for one tool, always the same ones."""

    def __init__(self, parsed: exp.Expression, spec: ToolSpec, sandbox: Sandbox) -> None:
        self.schemas: dict[str, dict[str, Any]] = spec.parameters.get("properties", {})
        required = spec.parameters.get("required", [])
        self.required = tuple(name for name in self.schemas if name in required)
        self._random = random.Random(spec.name)
        self._column_uses = _column_uses(parsed, sandbox.image)
        self._values = {name: _values(use, sandbox) for name, use in self._column_uses.items()}
        self._fitting = {name: _fitting(values, self.schemas[name]) for name, values in self._values.items()}
        self._rows = {use.table.name: _rows(use.table, sandbox) for use in self._column_uses.values()}

    def type_problems(self) -> list[str]:
        """The parameters whose declared type does not match any value of their column."""
        problems = []
        for name, use in self._column_uses.items():
            kinds = {key: value for key, value in self.schemas[name].items() if key == "type"}
            values = self._values[name]
            if use.exact and values and not any(_fits(value, kinds) for value in values):
                column = f"{use.table.name}.{use.column}"
                problems.append(f"parameter {name} has type {kinds['type']}, but {column} holds {values[0]!r}")
        return problems

    def samples(self, names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        """Arguments for these parameters.

        Compared values come from one row per table, so that they match together; inserted values are mixed from all
        rows, and new where they must be unique.
        """
        for attempt in range(_ATTEMPTS):
            current = {table: self._random.choice(rows) for table, rows in self._rows.items() if rows}
            yield {name: self._value(name, current, attempt) for name in names}

    def _value(self, name: str, current: dict[str, dict[str, Any]], attempt: int) -> Any:
        schema, use = self.schemas[name], self._column_uses.get(name)
        if use is None:
            return _placeholder_value(schema)
        fitting = self._fitting[name]
        if not fitting:
            return _placeholder_value(schema)
        if use.inserted:
            is_unique = use.column in use.table.unique
            return _unused(fitting, attempt) if is_unique else self._random.choice(fitting)
        value = current[use.table.name][use.column]
        return _as_declared(value, schema) if _fits(value, schema) else self._random.choice(fitting)


def _rows(table: TableShape, sandbox: Sandbox) -> list[dict[str, Any]]:
    columns = ", ".join(map(quoted, table.columns))
    rows = sandbox.query(f"SELECT {columns} FROM {quoted(table.name)} LIMIT {_SAMPLE_SIZE}")
    return [dict(zip(table.columns, row, strict=True)) for row in rows]


def _values(use: ColumnUse, sandbox: Sandbox) -> list[Any]:
    column = quoted(use.column)
    rows = sandbox.query(f"SELECT DISTINCT {column} FROM {quoted(use.table.name)} LIMIT {_SAMPLE_SIZE}")
    return [value for (value,) in rows if isinstance(value, str | int | float)]


def _column_uses(parsed: exp.Expression, image: Image) -> dict[str, ColumnUse]:
    tables = {
        table.alias_or_name.lower(): shape for table in parsed.find_all(exp.Table) if (shape := image.table(table.name))
    }
    uses: dict[str, ColumnUse] = {}
    for placeholder in parsed.find_all(exp.Placeholder):
        use = _insert_use(placeholder, parsed, image) or _comparison_use(placeholder, tables)
        if use and (placeholder.name not in uses or use.exact):
            uses[placeholder.name] = use
    return uses


def _insert_use(placeholder: exp.Expression, parsed: exp.Expression, image: Image) -> ColumnUse | None:
    if not isinstance(parsed, exp.Insert):
        return None
    table = target_table(parsed, image)
    columns = (
        [identifier.name for identifier in parsed.this.expressions]
        if isinstance(parsed.this, exp.Schema)
        else table.columns
    )
    source = parsed.expression
    rows = source.expressions if isinstance(source, exp.Values) else [source]
    for row in rows:
        for column, cell in zip(columns, row.expressions if row else (), strict=False):
            if any(node is placeholder for node in cell.walk()):
                return _column_use(table, column, inserted=True, exact=cell is placeholder)
    return None


def _comparison_use(placeholder: exp.Expression, tables: dict[str, TableShape]) -> ColumnUse | None:
    side: exp.Expr = placeholder
    parent = placeholder.parent
    while parent is not None and not isinstance(parent, exp.Query):
        if isinstance(parent, _COMPARISONS):
            other = parent.expression if parent.this is side and isinstance(parent, exp.Binary) else parent.this
            column = other.find(exp.Column)
            if column is None:
                return None
            shapes = [tables[column.table.lower()]] if column.table.lower() in tables else list(tables.values())
            shape = next((shape for shape in shapes if _stored_name(shape, column.name)), None)
            exact = other is column and side is placeholder and not isinstance(parent, exp.Like | exp.Glob)
            return _column_use(shape, column.name, inserted=False, exact=exact) if shape else None
        side, parent = parent, parent.parent
    return None


def _column_use(table: TableShape, column: str, *, inserted: bool, exact: bool) -> ColumnUse | None:
    name = _stored_name(table, column)
    return ColumnUse(table, name, inserted, exact) if name else None


def _stored_name(table: TableShape, column: str) -> str | None:
    return next((name for name in table.columns if name.lower() == column.lower()), None)


def _fitting(values: Sequence[Any], schema: dict[str, Any]) -> list[Any]:
    return [_as_declared(value, schema) for value in values if _fits(value, schema)]


def _fits(value: Any, schema: dict[str, Any]) -> bool:
    return schema_error(_as_declared(value, schema), schema) is None


def _as_declared(value: Any, schema: dict[str, Any]) -> Any:
    """SQLite stores booleans as 0 and 1, and integral values of a NUMERIC column as integers."""
    return bool(value) if schema.get("type") == "boolean" and value in (0, 1) else value


def _unused(values: list[Any], attempt: int) -> Any:
    numbers = [value for value in values if not isinstance(value, str)]
    return int(max(numbers)) + 1_000 + attempt if numbers else f"{values[0]}-{attempt}"


def _placeholder_value(schema: dict[str, Any]) -> Any:
    for value in (*schema.get("enum", ()), schema.get("const"), schema.get("default"), schema.get("minimum")):
        if value is not None:
            return value
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    return {"integer": 1, "number": 1.0, "boolean": True, "null": None}.get(str(kind), "a")
