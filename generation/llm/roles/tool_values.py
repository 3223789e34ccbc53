"""Argument values for any tool: from a row that may be nested, or invented so that they look right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from core.messages import schema_error
from generation.llm.roles.sql_shapes import singular, snake

Schema = dict[str, Any]

_IDENTIFIERS = {"id", "ids", "uuid", "key", "sku"}
_TEXTS = {
    "email": ["a.moreno@example.com", "jon.aldous@example.org", "mira@example.net"],
    "phone": ["555-0142", "555-0178", "555-0199"],
    "first_name": ["Ada", "Jon", "Mira", "Tom", "Lena"],
    "last_name": ["Moreno", "Aldous", "Castell", "Okafor", "Brandt"],
    "name": ["Ada Moreno", "Jon Aldous", "Mira Castell", "Tom Okafor", "Lena Brandt"],
    "title": ["Quiet Harbour", "The Long Field", "Northern Light", "Paper Boats"],
    "city": ["Utrecht", "Porto", "Leeds", "Graz", "Aarhus", "Lyon"],
    "origin": ["Utrecht", "Porto", "Leeds"],
    "destination": ["Graz", "Aarhus", "Lyon"],
    "location": ["Utrecht", "Porto", "Leeds", "Graz", "Aarhus", "Lyon"],
    "country": ["Portugal", "Austria", "Denmark", "France"],
    "address": ["12 Mill Lane", "48 Harbour Street", "7 Station Road"],
    "street": ["12 Mill Lane", "48 Harbour Street", "7 Station Road"],
    "zip": ["48210", "73015", "90127"],
    "postal": ["48210", "73015", "90127"],
    "currency": ["EUR", "USD", "GBP"],
    "language": ["English", "Portuguese", "German"],
    "symbol": ["ACME", "NRTH", "QHBR"],
    "url": ["https://example.com/offers", "https://example.org/news"],
    "time": ["09:30", "14:00", "18:45"],
    "query": ["garden tools", "jazz for beginners", "hiking boots", "sourdough"],
    "keyword": ["garden tools", "jazz", "hiking boots"],
    "message": ["Please call me back", "I will be ten minutes late", "The parcel has arrived"],
    "description": ["Spare part for the north wing", "Weekly meeting of the team"],
    "reason": ["ordered by mistake", "no longer needed"],
    "status": ["open", "pending", "closed"],
    "color": ["blue", "green", "dark red"],
}
_OTHER = ["standard", "premium", "compact", "north wing", "evening", "organic"]
_FORMATS = {
    "email": _TEXTS["email"],
    "uri": _TEXTS["url"],
    "uuid": ["6f1c2a34-58d1-4f7e-9b60-0c5a7de21f08", "b0a9d7c2-4e31-4c58-8f12-93d6ab50e7c4"],
    "time": ["09:30:00", "14:00:00", "18:45:00"],
    "ipv4": ["192.0.2.17", "198.51.100.24"],
}
_QUOTED = re.compile(r"(?<!\w)['\"`]([^'\"`]{2,40})['\"`](?!\w)")  # what a description names: either 'cash' or 'card'


@dataclass(frozen=True)
class Record:
    """One row of a limited view, of some kind or table."""

    kind: str
    row: dict[str, Any]


def is_identifier(name: str) -> bool:
    """Whether a field of this name says which record is meant: such a value cannot be made up where there are records."""
    parts = snake(name).split("_")
    return parts[-1] in _IDENTIFIERS or (parts[-1] in {"number", "no"} and len(parts) > 1 and "phone" not in parts)


def plain(given: Any) -> Schema:
    """The schema without alternatives: the first that is not null."""
    schema: Schema = given if isinstance(given, dict) else {}
    for several in ("anyOf", "oneOf"):
        options = [
            option for option in schema.get(several, ()) if isinstance(option, dict) and option.get("type") != "null"
        ]
        if options:
            rest = {key: value for key, value in schema.items() if key != several}
            return plain(rest | options[0])
    kind = schema.get("type")
    if isinstance(kind, list):
        return schema | {"type": next((name for name in kind if name != "null"), "string")}
    return schema


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


def invent(name: str, schema: Schema, rng: Random, place: int = 0) -> Any:
    """A plausible value that the schema allows, or None. `place` is the parameter's number: of two dates the second is later."""
    schema = plain(schema)
    listed = [schema["const"]] if "const" in schema else schema.get("enum") or schema.get("examples")
    options = [value for value in listed or () if value is not None] if isinstance(listed, list) else []
    if not options and schema.get("type") == "string" and not is_identifier(name):
        options = _QUOTED.findall(str(schema.get("description", "")))
    made = rng.choice(options) if options else _of_type(snake(name), schema, rng, place)
    if made is None or schema_error(made, schema) is not None:
        made = schema.get("default")
    return made if made is not None and schema_error(made, schema) is None else None


def _of_type(name: str, schema: Schema, rng: Random, place: int) -> Any:
    kind = schema.get("type", "string")
    if kind in ("integer", "number"):
        return _number(name, schema, rng, whole=kind == "integer")
    if kind == "boolean":
        return rng.random() < 0.5
    if kind == "array":
        items = plain(schema.get("items"))
        if items.get("type") in ("object", "array"):
            return None
        count = max(int(schema.get("minItems", 1)), rng.randint(1, 2))
        return list(dict.fromkeys(invent(singular(name), items, rng, place) for _ in range(count)))
    return _text(name, schema, rng, place) if kind == "string" else None


def _number(name: str, schema: Schema, rng: Random, whole: bool) -> int | float | None:
    low, high = (
        schema.get("minimum", schema.get("exclusiveMinimum")),
        schema.get("maximum", schema.get("exclusiveMaximum")),
    )
    usual = {"year": (2018, 2025), "age": (18, 80), "latitude": (-60, 60), "longitude": (-170, 170), "limit": (2, 10)}
    first, last = next((span for part, span in usual.items() if part in name), (2, 60))
    if is_identifier(name):
        first, last = 1000, 9999
    low = first if low is None else low
    high = max(last, low + 10) if high is None else high
    low = min(low, high) if schema.get("minimum") is None else low
    step = schema.get("multipleOf")
    if step:
        return step * rng.randint(-int(-low // step), int(high // step)) if low <= high else None
    if whole:
        low, high = int(low) + ("exclusiveMinimum" in schema), int(high) - ("exclusiveMaximum" in schema)
        return rng.randint(low, high) if low <= high else None
    return round(rng.uniform(low, high), 2)


def _text(name: str, schema: Schema, rng: Random, place: int) -> str:
    wanted = schema.get("format", "")
    day = f"2025-{3 + place // 2 % 9:02}-{rng.randint(1, 13) + 14 * (place % 2):02}"
    if wanted in ("date", "date-time"):
        return day if wanted == "date" else f"{day}T{rng.randint(8, 18):02}:{rng.choice((0, 15, 30)):02}:00Z"
    if wanted in _FORMATS:
        return rng.choice(_FORMATS[wanted])
    if is_identifier(name):
        return f"{(name.partition('_')[0] if '_' in name else 'ref')[:3].upper()}-{rng.randint(1000, 9999)}"
    if {"date", "day", "birthday", "checkin", "checkout", "deadline"} & set(name.split("_")):
        return day
    return rng.choice(next((texts for part, texts in _TEXTS.items() if part in name), _OTHER))
