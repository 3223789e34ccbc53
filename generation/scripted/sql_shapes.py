"""Every tool that the stand-in knows for a relational schema, each with its SQL.

The tool maker picks from these; the task writer recognises them by name and so knows what each tool does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from generation.database.schema import Column, DatabaseSchema, Table
from generation.scripted.sql_tables import closed_values, label, primary_key, row_name, rows_name
from generation.specs.spelling import snake, words

Kind = Literal["search", "get", "list", "update", "create", "top", "total", "count", "delete", "all"]
_LONG = range(51, 151)
"""Rows of a table that one tool lists completely."""


@dataclass(frozen=True)
class Shape:
    """One possible tool. `column` is the one that it searches, groups, ranks, sets or follows, else the key; `parent`
    is the table whose row a list belongs to."""

    kind: Kind
    name: str
    description: str
    table: Table
    key: str
    column: str
    parent: Table | None
    parameters: dict[str, Any]
    returns: dict[str, Any]
    sql: str


@lru_cache(maxsize=64)
def shapes(schema: DatabaseSchema) -> Mapping[str, Shape]:
    """Tool name -> shape, for all tables with a usable key; the most connected tables first."""
    linked = {table.name: 0 for table in schema.tables}
    for table in schema.tables:
        for key in table.foreign_keys:
            linked[key.parent] = linked.get(key.parent, 0) + 1
    tables = sorted(schema.tables, key=lambda table: (-linked[table.name], -len(table.foreign_keys), table.name))
    return {shape.name: shape for table in tables for shape in _of_table(schema, table, linked)}


def _q(name: str) -> str:
    return f'"{name}"'


def _of_table(schema: DatabaseSchema, table: Table, linked: dict[str, int]) -> Iterator[Shape]:
    key = primary_key(table)
    if key is None or not table.rows:
        return
    shown = list(table.columns)[:7]
    name = label(table)
    if name:
        yield _read(table, key, "search", name, shown)
    yield _read(table, key, "get", key, shown)
    foreign_names = {name for foreign in table.foreign_keys for name in foreign.columns}
    plain = [c for c in table.columns if not c.primary_key and c.name not in foreign_names]
    for foreign in table.foreign_keys:
        parent = next((other for other in schema.tables if other.name == foreign.parent), None)
        if parent and len(foreign.columns) == 1 and primary_key(parent):
            column = next(c for c in table.columns if c.name == foreign.columns[0])
            yield _joined(table, key, column, parent, shown)
            yield from (_total(table, key, column, parent, amount) for amount in plain if amount.kind != "string")
    for column in plain:
        if column != name and column.kind in ("string", "number", "integer"):
            yield _update(schema, table, key, column)
    yield _create(schema, table, key)
    for column in plain:
        if column.kind in ("number", "integer"):
            yield _top(table, key, column, name)
        if closed_values(schema, table, column.name):
            yield _count(schema, table, key, column)
    if not linked[table.name]:
        yield _delete(table, key)
    if table.rows in _LONG:
        yield _all(table, key, shown[:5])


def _value(column: Column, description: str, closed: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"type": column.kind, "description": description} | ({"enum": list(closed)} if closed else {})


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


def _rows(columns: list[Column]) -> dict[str, Any]:
    properties = {snake(c.name): {"type": [c.kind, "null"] if c.nullable else c.kind} for c in columns}
    return {"type": "array", "items": {"type": "object", "properties": properties}}


def _selected(columns: list[Column]) -> str:
    return ", ".join(_q(c.name) if snake(c.name) == c.name else f"{_q(c.name)} AS {snake(c.name)}" for c in columns)


def _changed(extra: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "object", "properties": {"rows_affected": {"type": "integer"}} | (extra or {})}


def _read(table: Table, key: Column, kind: Literal["search", "get"], column: Column, columns: list[Column]) -> Shape:
    noun, many, parameter = words(row_name(table.name)), rows_name(table.name), snake(column.name)
    labels = {
        "search": (
            f"search_{many}_by_{parameter}",
            f"Find {words(many)} by {words(parameter)} (exact, case is ignored).",
        ),
        "get": (f"get_{row_name(table.name)}", f"Get one {noun} by its {words(parameter)}."),
    }
    tool, description = labels[kind]
    test = f"{_q(column.name)} = :{parameter}" + (" COLLATE NOCASE" if kind == "search" else "")
    return Shape(
        kind,
        tool,
        description,
        table,
        key.name,
        column.name,
        None,
        _object({parameter: _value(column, f"{words(parameter)}")}, [parameter]),
        _rows(columns),
        f"SELECT {_selected(columns)} FROM {_q(table.name)} WHERE {test} ORDER BY {_q(key.name)} LIMIT 20",
    )


def _joined(table: Table, key: Column, column: Column, parent: Table, columns: list[Column]) -> Shape:
    """The rows that belong to one row of the parent table, with the name of that row."""
    many, parameter, parent_key, name = rows_name(table.name), snake(column.name), primary_key(parent), label(parent)
    assert parent_key, "a list belongs to a table with a key"
    selected = [f"c.{part.strip()}" for part in _selected(columns).split(", ")]
    alias = snake(f"{row_name(parent.name)}_{name.name.removeprefix(row_name(parent.name) + '_')}") if name else ""
    shown = name is not None and alias not in {snake(c.name) for c in columns}
    returns = _rows(columns)
    if name and shown:
        selected.append(f"p.{_q(name.name)} AS {alias}")
        returns["items"]["properties"][alias] = {"type": [name.kind, "null"] if name.nullable else name.kind}
    return Shape(
        "list",
        f"list_{many}_by_{parameter}",
        f"List the {words(many)} of one {words(row_name(parent.name))}.",
        table,
        key.name,
        column.name,
        parent,
        _object({parameter: _value(column, words(parameter))}, [parameter]),
        returns,
        f"SELECT {', '.join(selected)} FROM {_q(table.name)} AS c JOIN {_q(parent.name)} AS p "
        f"ON c.{_q(column.name)} = p.{_q(parent_key.name)} WHERE c.{_q(column.name)} = :{parameter} "
        f"ORDER BY c.{_q(key.name)} LIMIT 20",
    )


def _total(table: Table, key: Column, column: Column, parent: Table, amount: Column) -> Shape:
    many, parameter, field = rows_name(table.name), snake(column.name), f"total_{snake(amount.name)}"
    returns = {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {f"number_of_{many}": {"type": "integer"}, field: {"type": ["number", "null"]}},
        },
    }
    return Shape(
        "total",
        f"{field}_of_{many}_by_{parameter}",
        f"Count the {words(many)} of one {words(row_name(parent.name))} and add up their {words(amount.name)}.",
        table,
        key.name,
        column.name,
        parent,
        _object({parameter: _value(column, words(parameter))}, [parameter]),
        returns,
        f"SELECT COUNT(*) AS number_of_{many}, ROUND(SUM({_q(amount.name)}), 2) AS {field} "
        f"FROM {_q(table.name)} WHERE {_q(column.name)} = :{parameter} GROUP BY {_q(column.name)}",
    )


def _update(schema: DatabaseSchema, table: Table, key: Column, column: Column) -> Shape:
    noun, pk, parameter = row_name(table.name), snake(key.name), snake(column.name)
    properties = {
        pk: _value(key, f"the {words(noun)} to change"),
        parameter: _value(column, f"new {words(parameter)}", closed_values(schema, table, column.name)),
    }
    return Shape(
        "update",
        f"update_{noun}_{parameter}",
        f"Change the {words(parameter)} of one {words(noun)}.",
        table,
        key.name,
        column.name,
        None,
        _object(properties, [pk, parameter]),
        _changed(),
        f"UPDATE {_q(table.name)} SET {_q(column.name)} = :{parameter} WHERE {_q(key.name)} = :{pk}",
    )


def _create(schema: DatabaseSchema, table: Table, key: Column) -> Shape:
    noun = row_name(table.name)
    fields = [c for c in table.columns if not c.primary_key and not c.nullable]
    fields = fields or [c for c in table.columns if not c.primary_key][:3]
    properties = {snake(c.name): _value(c, f"{words(c.name)}", closed_values(schema, table, c.name)) for c in fields}
    columns, values = ", ".join(_q(c.name) for c in fields), ", ".join(f":{snake(c.name)}" for c in fields)
    return Shape(
        "create",
        f"create_{noun}",
        f"Add a {words(noun)}; returns its new {words(key.name)}.",
        table,
        key.name,
        key.name,
        None,
        _object(properties, list(properties)),
        _changed({snake(key.name): {"type": "integer"}}),
        f"INSERT INTO {_q(table.name)} ({columns}) VALUES ({values})",
    )


def _top(table: Table, key: Column, column: Column, name: Column | None) -> Shape:
    columns = [key, *([name] if name else []), column]
    parameters = {"limit": {"type": "integer", "description": "how many", "minimum": 1, "maximum": 20}}
    return Shape(
        "top",
        f"top_{rows_name(table.name)}_by_{snake(column.name)}",
        f"The {words(rows_name(table.name))} with the highest {words(column.name)}, highest first.",
        table,
        key.name,
        column.name,
        None,
        _object(parameters, ["limit"]),
        _rows(columns),
        f"SELECT {_selected(columns)} FROM {_q(table.name)} ORDER BY {_q(column.name)} DESC, {_q(key.name)} LIMIT :limit",
    )


def _count(schema: DatabaseSchema, table: Table, key: Column, column: Column) -> Shape:
    many, parameter = rows_name(table.name), snake(column.name)
    closed = closed_values(schema, table, column.name)
    returns = {"type": "array", "items": {"type": "object", "properties": {f"number_of_{many}": {"type": "integer"}}}}
    return Shape(
        "count",
        f"count_{many}_by_{parameter}",
        f"Count the {words(many)} with one {words(parameter)}.",
        table,
        key.name,
        column.name,
        None,
        _object({parameter: _value(column, words(parameter), closed)}, [parameter]),
        returns,
        f"SELECT COUNT(*) AS number_of_{many} FROM {_q(table.name)} WHERE {_q(column.name)} = :{parameter}",
    )


def _all(table: Table, key: Column, columns: list[Column]) -> Shape:
    many = rows_name(table.name)
    return Shape(
        "all",
        f"list_all_{many}",
        f"List all {words(many)}.",
        table,
        key.name,
        key.name,
        None,
        _object({}, []),
        _rows(columns),
        f"SELECT {_selected(columns)} FROM {_q(table.name)} ORDER BY {_q(key.name)}",
    )


def _delete(table: Table, key: Column) -> Shape:
    noun, pk = row_name(table.name), snake(key.name)
    return Shape(
        "delete",
        f"delete_{noun}",
        f"Delete one {words(noun)} for good.",
        table,
        key.name,
        key.name,
        None,
        _object({pk: _value(key, f"the {words(noun)} to delete")}, [pk]),
        _changed(),
        f"DELETE FROM {_q(table.name)} WHERE {_q(key.name)} = :{pk}",
    )
