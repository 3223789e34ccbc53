"""The fields that a policy's rules may name: of a tool's arguments, and of the rows that a look-up returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.messages import ToolSpec
from core.policy import LookUp
from generation.policies.comparisons import counted

Schema = dict[str, Any]

OPEN: Schema = {}
"""The schema of a field that is not declared: anything."""


def types(schema: Schema) -> frozenset[str]:
    """The JSON types of a field's values, of a list those of its members; empty if any is possible."""
    if "enum" in schema and "type" not in schema:
        kinds = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
        return frozenset(kinds.get(type(value), "object") for value in schema["enum"])
    found: set[str] = set()
    for part in _alternatives(schema):
        kinds_of = part.get("type", [])
        names = {kinds_of} if isinstance(kinds_of, str) else set(kinds_of)
        if "array" in names:
            names = names - {"array"} | types(part.get("items") or OPEN)
        if not names:
            return frozenset()
        found |= names
    return frozenset(found)


def field_schema(schema: Schema, field: str) -> Schema | None:
    """The schema of a field of an object, also within its objects and lists; `OPEN` if the object declares no fields,
    None if it has none of that name."""
    if listed := counted(field):
        found = field_schema(schema, listed)
        if found is None or found == OPEN:
            return found
        return {"type": "integer"} if _is_list(found) else None
    properties = _properties(schema)
    if properties is None:
        return OPEN
    if field in properties:
        return properties[field]
    head, _, rest = field.partition(".")
    if not rest or head not in properties:
        return None
    return field_schema(properties[head], rest)


def _is_list(schema: Schema) -> bool:
    return any("array" in part.get("type", "") for part in _alternatives(schema))


def _alternatives(schema: Schema) -> list[Schema]:
    parts = schema.get("anyOf") or schema.get("oneOf")
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else [schema]


def _properties(schema: Schema) -> dict[str, Schema] | None:
    """The declared fields of an object, or of a list's members; None if it declares none."""
    found: dict[str, Schema] = {}
    for part in _alternatives(schema):
        if isinstance(items := part.get("items"), dict):
            found |= _properties(items) or {}
        if isinstance(properties := part.get("properties"), dict):
            found |= properties
    return found or None


def row_schema(look_up: LookUp, specs: Mapping[str, ToolSpec]) -> Schema:
    """The schema of the rows that a look-up with known tools returns."""
    own = _properties(specs[look_up.tool].returns or OPEN)
    if own is None:
        returns = specs[look_up.tool].returns
        if not returns or types(returns) & {"object"} or not types(returns):
            return OPEN
        own = {"value": {"type": sorted(types(returns))} | ({"enum": e} if (e := returns.get("enum")) else {})}
    outer = scope_schema(look_up, specs)
    if outer is None:
        return {"type": "object", "properties": own}
    return OPEN if outer == OPEN else {"type": "object", "properties": outer["properties"] | own}


def scope_schema(look_up: LookUp, specs: Mapping[str, ToolSpec]) -> Schema | None:
    """The schema of what a look-up is made of: the rows of its `of`, with the fields of each member; None without
    `of`."""
    if look_up.of is None:
        return None
    rows = row_schema(look_up.of, specs)
    if rows == OPEN:
        return OPEN
    properties: dict[str, Schema] = rows["properties"]
    if look_up.each:
        properties = properties | (_properties(field_schema(rows, look_up.each) or OPEN) or {})
    return {"type": "object", "properties": properties}
