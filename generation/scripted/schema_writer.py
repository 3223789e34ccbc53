"""The stand-in's schema writer: what a tool of that name plausibly returns; sometimes with a wrong type, to be
repaired."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from generation.llm.contexts import OutputSchemaContext
from generation.specs.entities import field_types
from generation.specs.naming import action, entity_words
from generation.specs.spelling import snake

_ERROR_RATE = 0.15
"""The chance of a wrong type in a first answer."""
_SCALARS = ("string", "integer", "number", "boolean")
_SEARCH_OPTIONS = {"query", "limit", "offset", "page", "sort", "sort_by", "order"}
_DETAILS = (
    ("name", "string"),
    ("status", "string"),
    ("created_at", "string"),
    ("description", "string"),
    ("price", "number"),
    ("quantity", "integer"),
    ("active", "boolean"),
    ("notes", "string"),
)

Properties = dict[str, dict[str, Any]]


def answer(context: OutputSchemaContext, rng: Random) -> str:
    """A JSON Schema: an array of records for searches and lists, one record for reads, identifier and status for
    changes."""
    tool = context.tool.name
    properties = _record(context, "_".join(entity_words(tool)) or "record", rng)
    if action(tool) in ("update", "delete", "cancel"):
        properties = {name: part for name, part in properties.items() if name.endswith("_id")} | {
            "status": _field(context, "status", "string") or {"type": "string"}
        }
    if not context.conflicts and rng.random() < _ERROR_RATE:
        _corrupt_type(properties, context.entities, rng)
    record = {"type": "object", "properties": properties, "required": list(properties)}
    schema = {"type": "array", "items": record} if action(tool) in ("search", "list") else record
    return json.dumps(schema, ensure_ascii=False)


def _record(context: OutputSchemaContext, noun: str, rng: Random) -> Properties:
    """The identifier, the fields that parameters name, and a few details."""
    declared = context.tool.parameters.get("properties", {})
    scalars = [name for name, part in declared.items() if name not in _SEARCH_OPTIONS and _is_scalar(part)]
    usual_types = [(f"{noun}_id", "string"), *((name, "string") for name in scalars), *rng.sample(_DETAILS, 3)]
    fields = ((name, _field(context, name, usual)) for name, usual in usual_types)
    return {name: field for name, field in fields if field}


def _is_scalar(schema: Any) -> bool:
    types = field_types(schema)
    return bool(types) and types[0] in _SCALARS


def _field(context: OutputSchemaContext, name: str, usual: str) -> dict[str, Any] | None:
    """The field with its known type, else its usual one; None if it is known as a list or an object."""
    kind = context.entities.get(snake(name), usual)
    return {"type": kind, "description": name.replace("_", " ").capitalize()} if kind in _SCALARS else None


def _corrupt_type(properties: Properties, entities: dict[str, str], rng: Random) -> None:
    known = [name for name in properties if snake(name) in entities]
    if known:
        name = rng.choice(known)
        wrong = [kind for kind in _SCALARS if kind != entities[snake(name)]]
        properties[name] = properties[name] | {"type": rng.choice(wrong)}
