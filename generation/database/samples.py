"""Arguments to try a tool with, taken from the data of the columns that its parameters meet."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from core.messages import ToolSpec
from core.schemas import schema_error
from generation.database.image import Image, TableShape, quoted
from generation.database.sandbox import Sandbox

_LOOK = 40  # rows of a table and values of a column that are looked at
_ATTEMPTS = 20
_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Like, exp.Glob, exp.Between, exp.In)


@dataclass(frozen=True)
class Meeting:
    """A parameter is compared with this column, or written into it. `exact`: their values are of one kind, as they are with
    = and <, but not with LIKE or where a function stands between."""

    table: TableShape
    column: str
    inserted: bool
    exact: bool


def target_table(insert: exp.Insert, image: Image) -> TableShape:
    """The table that an INSERT writes to. Its statement was compiled before, so the table is there."""
    table = insert.this.this if isinstance(insert.this, exp.Schema) else insert.this
    shape = image.table(table.name)
    assert shape is not None
    return shape


class Sampler:
    """Draws arguments for one tool; the same ones each time."""

    def __init__(self, parsed: exp.Expression, spec: ToolSpec, sandbox: Sandbox) -> None:
        self.schemas: dict[str, dict[str, Any]] = spec.parameters.get("properties", {})
        required = spec.parameters.get("required", [])
        self.required = tuple(name for name in self.schemas if name in required)
        self._draw = random.Random(spec.name)
        self._meetings = _meetings(parsed, sandbox.image)
        self._values = {name: _values(meeting, sandbox) for name, meeting in self._meetings.items()}
        self._rows = {meeting.table.name: _rows(meeting.table, sandbox) for meeting in self._meetings.values()}

    def type_problems(self) -> list[str]:
        """The parameters whose declared type none of their column's values has."""
        problems = []
        for name, meeting in self._meetings.items():
            kinds = {key: value for key, value in self.schemas[name].items() if key == "type"}
            values = self._values[name]
            if meeting.exact and values and not any(_fits(value, kinds) for value in values):
                column = f"{meeting.table.name}.{meeting.column}"
                problems.append(f"parameter {name} has type {kinds['type']}, but {column} holds {values[0]!r}")
        return problems

    def samples(self, names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        """Arguments for these parameters: what is compared comes from one row of each table, so that it matches together;
        what is inserted is mixed from all rows, and new where it must be unique."""
        for attempt in range(_ATTEMPTS):
            current = {table: self._draw.choice(rows) for table, rows in self._rows.items() if rows}
            yield {name: self._value(name, current, attempt) for name in names}

    def _value(self, name: str, current: dict[str, dict[str, Any]], attempt: int) -> Any:
        schema, meeting = self.schemas[name], self._meetings.get(name)
        if meeting is None:
            return _made_up(schema)
        fitting = [_as_declared(value, schema) for value in self._values[name] if _fits(value, schema)]
        if not fitting:
            return _made_up(schema)
        if meeting.inserted:
            is_unique = meeting.column in meeting.table.unique
            return _unused(fitting, attempt) if is_unique else self._draw.choice(fitting)
        value = current[meeting.table.name][meeting.column]
        return _as_declared(value, schema) if _fits(value, schema) else self._draw.choice(fitting)


def _rows(table: TableShape, sandbox: Sandbox) -> list[dict[str, Any]]:
    columns = ", ".join(map(quoted, table.columns))
    rows = sandbox.query(f"SELECT {columns} FROM {quoted(table.name)} LIMIT {_LOOK}")
    return [dict(zip(table.columns, row, strict=True)) for row in rows]


def _values(meeting: Meeting, sandbox: Sandbox) -> list[Any]:
    column = quoted(meeting.column)
    rows = sandbox.query(f"SELECT DISTINCT {column} FROM {quoted(meeting.table.name)} LIMIT {_LOOK}")
    return [value for (value,) in rows if isinstance(value, str | int | float)]


def _meetings(parsed: exp.Expression, image: Image) -> dict[str, Meeting]:
    tables = {
        table.alias_or_name.lower(): shape for table in parsed.find_all(exp.Table) if (shape := image.table(table.name))
    }
    found: dict[str, Meeting] = {}
    for placeholder in parsed.find_all(exp.Placeholder):
        meeting = _inserted(placeholder, parsed, image) or _compared(placeholder, tables)
        if meeting and (placeholder.name not in found or meeting.exact):
            found[placeholder.name] = meeting
    return found


def _inserted(placeholder: exp.Expression, parsed: exp.Expression, image: Image) -> Meeting | None:
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
                return _meeting(table, column, inserted=True, exact=cell is placeholder)
    return None


def _compared(placeholder: exp.Expression, tables: dict[str, TableShape]) -> Meeting | None:
    side: exp.Expr = placeholder
    parent = placeholder.parent
    while parent is not None and not isinstance(parent, exp.Query):
        if isinstance(parent, _COMPARISONS):
            other = parent.expression if parent.this is side and isinstance(parent, exp.Binary) else parent.this
            column = other.find(exp.Column)
            if column is None:
                return None
            shapes = [tables[column.table.lower()]] if column.table.lower() in tables else list(tables.values())
            shape = next((shape for shape in shapes if _spelt(shape, column.name)), None)
            exact = other is column and side is placeholder and not isinstance(parent, exp.Like | exp.Glob)
            return _meeting(shape, column.name, inserted=False, exact=exact) if shape else None
        side, parent = parent, parent.parent
    return None


def _meeting(table: TableShape, column: str, *, inserted: bool, exact: bool) -> Meeting | None:
    name = _spelt(table, column)
    return Meeting(table, name, inserted, exact) if name else None


def _spelt(table: TableShape, column: str) -> str | None:
    return next((name for name in table.columns if name.lower() == column.lower()), None)


def _fits(value: Any, schema: dict[str, Any]) -> bool:
    return schema_error(_as_declared(value, schema), schema) is None


def _as_declared(value: Any, schema: dict[str, Any]) -> Any:
    """SQLite keeps truth values as 0 and 1, and whole numbers of a NUMERIC column as integers."""
    return bool(value) if schema.get("type") == "boolean" and value in (0, 1) else value


def _unused(values: list[Any], attempt: int) -> Any:
    numbers = [value for value in values if not isinstance(value, str)]
    return int(max(numbers)) + 1_000 + attempt if numbers else f"{values[0]}-{attempt}"


def _made_up(schema: dict[str, Any]) -> Any:
    for value in (*schema.get("enum", ()), schema.get("const"), schema.get("default"), schema.get("minimum")):
        if value is not None:
            return value
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    return {"integer": 1, "number": 1.0, "boolean": True, "null": None}.get(str(kind), "a")
