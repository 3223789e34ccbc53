"""Reads what JSON Schemas declare: references resolved, all alternatives known, the fields of a result."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from core.schemas import schema_error

Schema = dict[str, Any]

_COMBINING = ("anyOf", "oneOf")
_MOST = 64
"""Alternatives of one schema that are read; nested ones multiply."""
_TYPES = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}


def alternatives(schema: Any, root: Schema) -> list[Schema]:
    """Everything that a schema may be, at least one: local references resolved, `allOf` merged, and one schema per
    alternative of `anyOf` and `oneOf`. What its properties and items declare stays as it is."""
    return list(itertools.islice(_alternatives(schema, root, frozenset()), _MOST)) or [{}]


def resolved(schema: Any, root: Schema) -> Schema:
    """The first alternative that is not null."""
    options = alternatives(schema, root)
    return next((option for option in options if kind(option) != "null"), options[0])


def _alternatives(schema: Any, root: Schema, followed: frozenset[str]) -> Iterator[Schema]:
    """The alternatives, but for those that lead back to a reference that is being followed."""
    current: Schema = schema if isinstance(schema, dict) else {}
    if "$ref" in current:
        pointer = str(current["$ref"])
        if pointer not in followed:
            target = _target(pointer, root) | _without(current, "$ref")
            yield from _alternatives(target, root, followed | {pointer})
    elif "allOf" in current:
        parts = [_without(current, "allOf"), *current["allOf"]]
        options = [list(itertools.islice(_alternatives(part, root, followed), _MOST)) or [{}] for part in parts]
        yield from map(_merged, itertools.product(*options))
    elif combining := next((key for key in _COMBINING if key in current), None):
        for shared in _alternatives(_without(current, combining), root, followed):
            for part in current[combining]:
                yield from (_merged((shared, option)) for option in _alternatives(part, root, followed))
    else:
        yield current


def _without(schema: Schema, keyword: str) -> Schema:
    return {key: part for key, part in schema.items() if key != keyword}


def _target(pointer: str, root: Schema) -> Schema:
    target: Any = root
    for part in pointer.removeprefix("#").strip("/").split("/"):
        target = target.get(part, {}) if part and isinstance(target, dict) else target
    return target if isinstance(target, dict) else {}


def _merged(parts: Iterable[Schema]) -> Schema:
    merged: Schema = {}
    for part in parts:
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
    found = [_kinds(option) for option in alternatives(schema, root) if kind(option) != "null"]
    return frozenset().union(*found) if all(found) else frozenset()


def _kinds(option: Schema) -> frozenset[str]:
    declared = (
        option.get("type") or kind(option) or [_TYPES.get(type(value), "null") for value in choices(option) or ()]
    )
    names = declared if isinstance(declared, list) else [declared]
    return frozenset("number" if name == "integer" else str(name) for name in names if name != "null")


def choices(schema: Any) -> list[Any] | None:
    """The values that a schema without references lists, of all alternatives; None if other values are possible."""
    options = alternatives(schema, {})
    listed = [option.get("enum", [None]) for option in options if _is_listed(option)]
    return list(itertools.chain.from_iterable(listed)) if len(listed) == len(options) else None


def _is_listed(option: Schema) -> bool:
    return "enum" in option or kind(option) == "null"


def misfit(value: Any, schema: Any, root: Schema) -> str | None:
    """Why a value does not fit a part of the schema `root`; None if it does."""
    definitions: Schema = {key: root[key] for key in ("$defs", "definitions") if key in root}
    return schema_error(value, {**definitions, "allOf": [{} if schema is None else schema]})


def fits(value: Any, schema: Any, root: Schema) -> bool:
    """Whether a value fits a part of the schema `root`."""
    return misfit(value, schema, root) is None


def field(schema: Schema, path: str) -> Schema | None:
    """The schema of a field of a result, or of the rows of a list: "id" or, in nested objects, "recipe.id"; of a field
    that is a list, that of its members. It has no references; alternatives stand in its `anyOf`. None if the result
    does not declare the field; {} if it declares no fields at all."""
    found = _declared(schema, path)
    return None if found is None else _one_of([row for part in found for row in _rows(part, schema)])


def is_list(schema: Schema, path: str) -> bool:
    """Whether a result declares this field, and it may be a list."""
    found = _declared(schema, path) or []
    return any("array" in kinds(part, schema) for part in found)


def row(schema: Schema) -> Schema:
    """The schema of a result itself; of a list, that of its members."""
    return _one_of(_rows(schema, schema))


def _one_of(options: list[Schema]) -> Schema:
    return options[0] if len(options) == 1 else {"anyOf": options}


def _declared(schema: Schema, path: str) -> list[Schema] | None:
    """What the alternatives of a result declare a field to be."""
    rows = _rows(schema, schema)
    parts = path.split(".")
    if any(path in (found.get("properties") or {}) for found in rows):
        parts = [path]
    for position, part in enumerate(parts):
        declared = [found["properties"][part] for found in rows if part in (found.get("properties") or {})]
        if not declared:
            return [{}] if any(map(_is_open, rows)) else None
        if position == len(parts) - 1:
            return declared
        rows = [inner for found in declared for inner in _rows(found, schema)]
    return None


def _is_open(found: Schema) -> bool:
    """Whether an object may have other fields than those that it declares."""
    return bool(found.get("additionalProperties")) if found.get("properties") else kind(found) in ("", "object")


def field_names(schema: Schema) -> Iterator[str]:
    """The paths of all fields that a result declares: id, recipe.id."""
    yield from dict.fromkeys(_names(_rows(schema, schema), schema, "", 4))


def _names(rows: list[Schema], root: Schema, prefix: str, depth: int) -> Iterator[str]:
    for name, part in ((name, part) for found in rows for name, part in (found.get("properties") or {}).items()):
        yield f"{prefix}{name}"
        if depth:
            yield from _names(_rows(part, root), root, f"{prefix}{name}.", depth - 1)


def _rows(schema: Any, root: Schema) -> list[Schema]:
    """The alternatives of a schema but null; of a list, those of its items."""
    options = alternatives(schema, root)
    found = [option for option in options if kind(option) != "null"] or options[:1]
    for _ in range(3):
        if not any(kind(option) == "array" for option in found):
            break
        items = [alternatives(o.get("items"), root) if kind(o) == "array" else [o] for o in found]
        found = list(itertools.chain.from_iterable(items))[:_MOST]
    return found
