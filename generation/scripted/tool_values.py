"""Argument values for any tool: taken from a row, which may be nested, or invented to look plausible."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from core.schemas import schema_error
from generation.scripted.schema_values import scalar_value
from generation.specs.naming import is_identifier
from generation.specs.resolved_schema import Schema, kind, resolved
from generation.specs.spelling import singular, snake

_QUOTED = re.compile(r"(?<!\w)['\"`]([^'\"`]{2,40})['\"`](?!\w)")  # options in a description: either 'cash' or 'card'


_DATES = {"date", "day", "birthday", "checkin", "checkout", "deadline"}


@dataclass(frozen=True)
class ViewRow:
    """One row of a limited view of a table, or the nested part of one."""

    table: str
    fields: dict[str, Any]


def field_names(row: ViewRow) -> set[str]:
    """The names of a row's own fields, in snake_case."""
    return {snake(name) for name in row.fields}


def best_object(row: ViewRow, names: set[str]) -> ViewRow:
    """The row, or the object inside it that has most of these fields: one leg of a journey has its own date."""
    objects = (ViewRow(row.table, fields) for fields in _objects(row.fields))
    return max(objects, key=lambda part: len(names & field_names(part)))


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a row, the outermost first."""
    if isinstance(value, dict):
        yield value
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _objects(part)


def from_row(row: ViewRow, name: str, schema: Schema, rng: Random) -> Any:
    """A value from the row for a parameter of this name, the least nested one that fits its schema; None if it has
    none.

    {"id": 7, "items": [{"item_id": "a"}]} of the table orders gives 7 for order_id, ["a"] for item_ids.
    """
    candidates: list[tuple[int, Any]] = []
    for depth, value in _named(row.fields, snake(name), snake(singular(row.table)), 0):
        if value not in (None, "", [], {}) and schema_error(value, schema) is None:
            candidates.append((depth, value))
    shallowest = min((depth for depth, _ in candidates), default=0)
    fitting = [value for depth, value in candidates if depth == shallowest]
    return rng.choice(fitting) if fitting else None


def _named(value: Any, name: str, kind: str, depth: int) -> Iterator[tuple[int, Any]]:
    """(depth, value) of everything in a row that goes by this name: a field of that name; the id of a record of that
    kind; the members of a list, or the keys of an object, of that name; for a plural name, that field of every object
    in a list."""
    if isinstance(value, list):
        member = singular(name)
        if member != name and all(isinstance(part, dict) and member in part for part in value):
            yield depth, [part[member] for part in value]
        for part in value:
            yield from _named(part, name, kind, depth + 1)
    if not isinstance(value, dict):
        return
    for key, part in value.items():
        field = snake(key)
        if field == name or (field == "id" and name == f"{kind}_id"):
            yield depth, part
        elif singular(field) in (name, name.removesuffix("_id")) and isinstance(part, list | dict):
            yield from ((depth + 1, member) for member in part if isinstance(member, str | int))
        if isinstance(part, list | dict):
            yield from _named(part, name, singular(field), depth + 1)


def invent(name: str, declared: Schema, rng: Random, position: int = 0) -> Any:
    """A plausible value that the schema allows, or None. `position` is the parameter's: of two dates the second is
    later."""
    schema = resolved(declared, declared)
    listed = [schema["const"]] if "const" in schema else schema.get("enum") or schema.get("examples")
    options = [value for value in listed or () if value is not None] if isinstance(listed, list) else []
    if not options and kind(schema) == "string" and not is_identifier(name):
        options = _QUOTED.findall(str(schema.get("description", "")))
    value = rng.choice(options) if options else _of_type(snake(name), schema, rng, position)
    if value is None or schema_error(value, schema) is not None:
        value = schema.get("default")
    return value if value is not None and schema_error(value, schema) is None else None


def _of_type(name: str, schema: Schema, rng: Random, position: int) -> Any:
    if kind(schema) == "object":
        return None
    if kind(schema) == "array":
        items = resolved(schema.get("items"), schema)
        if kind(items) in ("object", "array"):
            return None
        count = max(int(schema.get("minItems", 1)), rng.randint(1, 2))
        return list(dict.fromkeys(invent(singular(name), items, rng, position) for _ in range(count)))
    dated = schema.get("format") == "date" or ("format" not in schema and _DATES & set(name.split("_")))
    if kind(schema) in ("string", "") and dated:
        return f"2025-{3 + position // 2 % 9:02}-{rng.randint(1, 13) + 14 * (position % 2):02}"
    return scalar_value(schema, name, rng)
