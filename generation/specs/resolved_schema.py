"""Reads what JSON Schemas declare: references resolved, alternatives chosen, the fields of a result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from core.schemas import schema_error

Schema = dict[str, Any]

_COMBINING = ("anyOf", "oneOf")


def resolved(schema: Any, root: Schema) -> Schema:
    """The schema with local references resolved, `allOf` merged and the first non-null alternative chosen."""
    current: Schema = schema if isinstance(schema, dict) else {}
    for _ in range(20):
        if "$ref" in current:
            current = _target(str(current["$ref"]), root) | _without(current, "$ref")
        elif "allOf" in current:
            current = _merged([_without(current, "allOf"), *current["allOf"]], root)
        elif combining := next((key for key in _COMBINING if key in current), None):
            options = [resolved(option, root) for option in current[combining]]
            chosen = next((option for option in options if kind(option) != "null"), options[0])
            current = _merged([_without(current, combining), chosen], root)
        else:
            return current
    return {}


def _without(schema: Schema, keyword: str) -> Schema:
    return {key: part for key, part in schema.items() if key != keyword}


def _target(pointer: str, root: Schema) -> Schema:
    target: Any = root
    for part in pointer.removeprefix("#").strip("/").split("/"):
        target = target.get(part, {}) if part and isinstance(target, dict) else target
    return target if isinstance(target, dict) else {}


def _merged(parts: list[Any], root: Schema) -> Schema:
    merged: Schema = {}
    for part in (resolved(part, root) for part in parts):
        properties = merged.get("properties", {}) | part.get("properties", {})
        required = [*merged.get("required", []), *part.get("required", [])]
        merged = (
            merged
            | part
            | ({"properties": properties} if properties else {})
            | ({"required": required} if required else {})
        )
    return merged


def kind(schema: Schema) -> str:
    """The JSON type of a schema, the first non-null one of several; an empty string if any type goes."""
    declared = schema.get("type", "")
    if isinstance(declared, list):
        return next((name for name in declared if name != "null"), "null")
    if not declared:
        return "object" if "properties" in schema else "array" if "items" in schema else ""
    return str(declared)


def kinds(schema: Any, root: Schema) -> frozenset[str]:
    """Every JSON type but null that a schema allows, "number" for integers too; empty if any type goes."""
    combined = schema if isinstance(schema, dict) else {}
    if combining := next((key for key in _COMBINING if key in combined), None):
        options = [kinds(option, root) for option in combined[combining] if kind(resolved(option, root)) != "null"]
        return frozenset().union(*options) if all(options) else frozenset()
    found = resolved(combined, root)
    declared = found.get("type") or kind(found)
    names = declared if isinstance(declared, list) else [declared] if declared else []
    return frozenset("number" if name == "integer" else str(name) for name in names if name != "null")


def fits(value: Any, schema: Any, root: Schema) -> bool:
    """Whether a value fits a part of the schema `root`."""
    definitions: Schema = {key: root[key] for key in ("$defs", "definitions") if key in root}
    return schema_error(value, {**definitions, "allOf": [{} if schema is None else schema]}) is None


def field(schema: Schema, path: str) -> Schema | None:
    """The schema of a field of a result, or of the rows of a list: "id" or, in nested objects, "recipe.id". None if the
    result does not declare it; {} if it declares no fields at all."""
    found = _row(schema, schema)
    for part in path.split("."):
        properties = found.get("properties")
        if not properties:
            return {} if kind(found) in ("", "object") else None
        if part not in properties:
            return {} if found.get("additionalProperties") else None
        found = _row(properties[part], schema)
    return found


def field_names(schema: Schema) -> Iterator[str]:
    """The paths of all fields that a result declares: id, recipe.id."""
    yield from _names(_row(schema, schema), schema, "", 4)


def _names(row: Schema, root: Schema, prefix: str, depth: int) -> Iterator[str]:
    for name, part in (row.get("properties") or {}).items():
        inner = _row(part, root)
        yield f"{prefix}{name}"
        if inner.get("properties") and depth:
            yield from _names(inner, root, f"{prefix}{name}.", depth - 1)


def _row(schema: Any, root: Schema) -> Schema:
    """The resolved schema; of a list, that of its items."""
    found = resolved(schema, root)
    for _ in range(3):
        if kind(found) != "array":
            break
        found = resolved(found.get("items"), root)
    return found
