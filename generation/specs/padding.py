"""Removes the nulls with which columnar files (Arrow, Parquet) pad objects to the keys of all others."""

from __future__ import annotations

from typing import Any

from generation.specs.resolved_schema import Schema, resolved


def without_padding(value: Any, schema: Schema) -> Any:
    """`value` without the nulls, at any depth, of keys that `schema` does not declare or does not require. A required
    null stays: it is right or wrong, but no padding."""
    return _without(value, schema, schema)


def _without(value: Any, schema: Any, root: Schema) -> Any:
    stated = resolved(schema, root)
    if isinstance(value, list):
        return [_without(item, stated.get("items"), root) for item in value]
    if not isinstance(value, dict):
        return value
    properties, required = stated.get("properties") or {}, stated.get("required") or ()
    return {
        key: _without(part, properties.get(key, stated.get("additionalProperties")), root)
        for key, part in value.items()
        if part is not None or (key in properties and key in required)
    }
