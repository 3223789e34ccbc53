"""Argument values for any tool: from a row that may be nested, or invented so that they look right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from core.schemas import schema_error
from generation.scripted.schema_values import Schema, kind, resolved, scalar_value
from generation.specs.naming import is_identifier
from generation.specs.spelling import singular, snake

_QUOTED = re.compile(r"(?<!\w)['\"`]([^'\"`]{2,40})['\"`](?!\w)")  # what a description names: either 'cash' or 'card'


_DATES = {"date", "day", "birthday", "checkin", "checkout", "deadline"}


@dataclass(frozen=True)
class Record:
    """One row of a limited view, of some kind or table."""

    kind: str
    row: dict[str, Any]


def fields(row: dict[str, Any]) -> set[str]:
    """The names of a row's own fields, in snake_case."""
    return {snake(name) for name in row}


def core(record: Record, names: set[str]) -> Record:
    """The record, or the part of it that has more of these fields of its own: one leg of a journey has its own date."""
    best = max(_objects(record.row), key=lambda row: len(names & fields(row)))
    return Record(record.kind, best)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a row, the outermost first."""
    if isinstance(value, dict):
        yield value
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _objects(part)


def from_record(record: Record, name: str, schema: Schema, rng: Random) -> Any:
    """A value of the record for a parameter of this name, the least nested that fits; None where it holds none."""
    candidates: list[tuple[int, Any]] = []
    for depth, value in _named(record.row, snake(name), snake(singular(record.kind)), 0):
        if value not in (None, "", [], {}) and schema_error(value, schema) is None:
            candidates.append((depth, value))
    shallowest = min((depth for depth, _ in candidates), default=0)
    fitting = [value for depth, value in candidates if depth == shallowest]
    return rng.choice(fitting) if fitting else None


def _named(value: Any, name: str, kind: str, depth: int) -> Iterator[tuple[int, Any]]:
    """(depth, value) of everything in a row that goes by this name: a field; the id of a record of that kind; what a list or an
    object of such things holds or is keyed by; all of a list's for a plural."""
    if isinstance(value, list):
        one = singular(name)
        if one != name and all(isinstance(part, dict) and one in part for part in value):
            yield depth, [part[one] for part in value]
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


def invent(name: str, given: Schema, rng: Random, place: int = 0) -> Any:
    """A plausible value that the schema allows, or None. `place` is the parameter's number: of two dates the second is later."""
    schema = resolved(given, given)
    listed = [schema["const"]] if "const" in schema else schema.get("enum") or schema.get("examples")
    options = [value for value in listed or () if value is not None] if isinstance(listed, list) else []
    if not options and kind(schema) == "string" and not is_identifier(name):
        options = _QUOTED.findall(str(schema.get("description", "")))
    made = rng.choice(options) if options else _of_type(snake(name), schema, rng, place)
    if made is None or schema_error(made, schema) is not None:
        made = schema.get("default")
    return made if made is not None and schema_error(made, schema) is None else None


def _of_type(name: str, schema: Schema, rng: Random, place: int) -> Any:
    if kind(schema) == "object":
        return None
    if kind(schema) == "array":
        items = resolved(schema.get("items"), schema)
        if kind(items) in ("object", "array"):
            return None
        count = max(int(schema.get("minItems", 1)), rng.randint(1, 2))
        return list(dict.fromkeys(invent(singular(name), items, rng, place) for _ in range(count)))
    dated = schema.get("format") == "date" or ("format" not in schema and _DATES & set(name.split("_")))
    if kind(schema) in ("string", "") and dated:
        return f"2025-{3 + place // 2 % 9:02}-{rng.randint(1, 13) + 14 * (place % 2):02}"
    return scalar_value(schema, name, rng)
