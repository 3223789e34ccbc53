"""The entity registry: the JSON type of each field across a domain's tools (Stage 2). A field's first type is
canonical."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from generation.specs.spelling import singular, snake

_JSON_TYPES: dict[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}
_SCALARS = {"integer", "number", "string", "boolean"}


class SchemaField(NamedTuple):
    """A field as spelled in a schema, and the JSON types it admits besides null; empty if the schema states none."""

    name: str
    types: tuple[str, ...]


class Conflict(NamedTuple):
    """`name` has type `known` since `tool`, but another schema declares it as `declared`."""

    name: str
    known: str
    tool: str
    declared: str

    def __str__(self) -> str:
        return f"{self.name} is {self.known} in {self.tool}, not {self.declared}"


class EntityRegistry:
    """`learn` adds schemas; `types` maps each known field (snake_case, in order of first appearance) to its JSON
    type."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[str, str]] = {}

    @property
    def types(self) -> dict[str, str]:
        return {name: kind for name, (kind, _) in self._first.items()}

    def learn(self, tool: str, schema: dict[str, Any]) -> list[Conflict]:
        """Add the schema's fields; return its distinct contradictions of known types."""
        conflicts: dict[Conflict, None] = {}
        for field in fields(schema):
            for declared in field.types:
                known, since = self._first.setdefault(snake(field.name), (declared, tool))
                if declared != known:
                    conflicts[Conflict(field.name, known, since, declared)] = None
        return list(conflicts)

    def conflicts(self, tool: str, schema: dict[str, Any]) -> list[Conflict]:
        """What `learn` would return, without learning."""
        copy = EntityRegistry()
        copy._first = dict(self._first)
        return copy.learn(tool, schema)


def fields(schema: Any) -> Iterator[SchemaField]:
    """Every named field of a JSON Schema at any depth, in the order written: properties, including those of array items
    and alternatives. The scalar items of a plural array are fields too, under the singular name: user_ids holds
    user_id."""
    if not isinstance(schema, dict):
        return
    for name, part in (schema.get("properties") or {}).items():
        types = field_types(part)
        yield SchemaField(name, types)
        yield from _elements(name, part)
        yield from fields(part)
    for part in _nested(schema):
        yield from fields(part)


def field_types(schema: Any) -> tuple[str, ...]:
    """The JSON types that a schema admits besides null, in the order written; "integer" with "number" is "number"."""
    if not isinstance(schema, dict):
        return ()
    declared = schema.get("type", ())
    types = [declared] if isinstance(declared, str) else list(declared)
    for keyword in ("anyOf", "oneOf", "allOf"):
        for part in schema.get(keyword, ()):
            types += field_types(part)
    if not types:
        types = _implied(schema)
    if "number" in types:
        types = ["number" if kind == "integer" else kind for kind in types]
    return tuple(dict.fromkeys(kind for kind in types if kind != "null"))


def _implied(schema: dict[str, Any]) -> list[str]:
    """The types of the allowed values, or the type that the keywords imply."""
    values = [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else [])]
    if values:
        return [_JSON_TYPES[type(value)] for value in values if value is not None]
    return ["object"] if "properties" in schema else ["array"] if "items" in schema else []


def _elements(name: str, schema: Any) -> Iterator[SchemaField]:
    item = singular(name)
    if item == name or not isinstance(schema, dict):
        return
    for part in [schema, *(p for keyword in ("anyOf", "oneOf", "allOf") for p in schema.get(keyword, ()))]:
        types = field_types(part.get("items")) if isinstance(part, dict) else ()
        if types and set(types) <= _SCALARS:
            yield SchemaField(item, types)


def _nested(schema: dict[str, Any]) -> Iterator[Any]:
    yield schema.get("items")
    yield schema.get("additionalProperties")
    for keyword in ("prefixItems", "anyOf", "oneOf", "allOf"):
        yield from schema.get(keyword, ())
    for keyword in ("$defs", "definitions"):
        yield from schema.get(keyword, {}).values()
