"""Removes the nulls with which columnar files (Arrow, Parquet) pad objects to the keys of all others."""

from __future__ import annotations

from typing import Any

from generation.specs.resolved_schema import Schema, fits, resolved


def without_padding(value: Any, schema: Schema, columnar: bool) -> Any:
    """`value` without the nulls, at any depth, that are padding.

    In a `columnar` source those are nulls of keys that `schema` does not declare or does not require; elsewhere only
    those that it declares without null, or not next to others that it does. A required null stays: it is right or
    wrong, but no padding. So does the null of a map, whose keys are data, if the schema of its values allows it.
    """
    return _without(value, schema, schema, columnar)


def _without(value: Any, schema: Any, root: Schema, columnar: bool) -> Any:
    stated = resolved(schema, root)
    if isinstance(value, list):
        return [_without(item, stated.get("items"), root, columnar) for item in value]
    if not isinstance(value, dict):
        return value
    properties = stated.get("properties") or {}
    return {
        key: _without(part, properties.get(key, stated.get("additionalProperties")), root, columnar)
        for key, part in value.items()
        if part is not None or not _is_padding(key, stated, root, columnar)
    }


def _is_padding(key: str, stated: Schema, root: Schema, columnar: bool) -> bool:
    """Whether the null of `key` is padding in an object with the schema `stated`."""
    properties = stated.get("properties") or {}
    if key in properties:
        required = key in (stated.get("required") or ())
        return not required and (columnar or not fits(None, properties[key], root))
    maps = {name: stated[name] for name in ("patternProperties", "additionalProperties") if stated.get(name)}
    if any(isinstance(part, dict) for part in maps.values()):
        return not fits({key: None}, {"additionalProperties": False, **maps}, root)
    return columnar or bool(properties)
