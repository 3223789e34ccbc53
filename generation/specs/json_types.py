"""JSON Schemas from type names as tool specs write them ("List[int]", "str, optional", "dict"); traversal of
schemas."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_NAMES = {
    "string": "string str text char varchar character date datetime date-time time timestamp uuid url uri email path"
    " file",
    "integer": "integer int int32 int64 long short bigint",
    "number": "number float double decimal numeric real",
    "boolean": "boolean bool",
    "array": "array list tuple set sequence iterable frozenset arraylist vector collection",
    "object": "object dict dictionary map mapping hashmap json struct record",
    "null": "null none nonetype void nil",
}
_KINDS = {word: kind for kind, words in _NAMES.items() for word in words.split()}
_ANYTHING = {"any", "all", "mixed", "enum", ""}
_OPTIONAL = re.compile(r"[\s,;(]+(?:optional|default\b[^\[\]]*)\)?\s*$|^optional\s+(?=\w)", re.IGNORECASE)
_GENERIC = re.compile(r"([\w.\-]+)\s*(?:\[(.*)\]|<(.*)>|\((.*)\))", re.DOTALL)
_ARRAY_OF = re.compile(r"(?:array|list)\s+of\s+(.+)", re.IGNORECASE)


def named_type(text: str) -> tuple[dict[str, Any], bool]:
    """The schema for a type name, and whether the name marks the value as optional.

    Raises ValueError for a type without a JSON form ("Callable[[float], float]").
    """
    written, optional = _OPTIONAL.subn("", text.strip())
    generic = _GENERIC.fullmatch(written)
    if generic and generic[1].lower().rpartition(".")[2] == "optional":
        return named_type(_inside(generic))[0], True
    return _schema(written, text), bool(optional)


def union(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    """The schema of a value that fits one of `schemas`: a list of types if all are plain types, otherwise `anyOf`."""
    distinct = [schema for position, schema in enumerate(schemas) if schema not in schemas[:position]]
    if not distinct or {} in distinct:
        return {}
    if len(distinct) == 1:
        return distinct[0]
    if all(schema.keys() == {"type"} and isinstance(schema["type"], str) for schema in distinct):
        return {"type": [schema["type"] for schema in distinct]}
    return {"anyOf": distinct}


def _schema(written: str, whole: str) -> dict[str, Any]:
    parts = _split(written, "|") or _split(re.sub(r"\s+or\s+", "|", written), "|") or _split(written, ",")
    if parts:
        return union([_schema(part, whole) for part in parts])
    word = written.strip().lower().rpartition(".")[2]
    if word in _ANYTHING:
        return {}
    if word in _KINDS:
        return {"type": _KINDS[word]}
    if word.endswith("[]"):
        return {"type": "array", "items": _schema(written.strip()[:-2], whole)}
    if array := _ARRAY_OF.fullmatch(written.strip()):
        return {"type": "array", "items": _schema(_singular(array[1]), whole)}
    if generic := _GENERIC.fullmatch(written.strip()):
        return _generic(generic[1].lower().rpartition(".")[2], _inside(generic), whole)
    raise ValueError(f"the type {whole!r} has no JSON form")


def _generic(base: str, inside: str, whole: str) -> dict[str, Any]:
    """ "list" of "int", "union" of "int, str"; a string's length and the types of an object's values are dropped."""
    parts = [part for part in _split(inside, ",") or [inside] if part.strip() != "..."]
    if base == "union":
        return union([_schema(part, whole) for part in parts])
    if base == "optional":
        return _schema(inside, whole)
    if base not in _KINDS:
        raise ValueError(f"the type {whole!r} has no JSON form")
    if _KINDS[base] != "array":
        return {"type": _KINDS[base]}
    items = [_schema(part, whole) for part in parts]
    return {"type": "array", "items": items[0]} if all(items) and items == items[:1] * len(items) else {"type": "array"}


def _inside(generic: re.Match[str]) -> str:
    return next(part for part in generic.groups()[1:] if part is not None)


def _split(text: str, separator: str) -> list[str]:
    """The parts between separators outside brackets; empty if there is no such separator."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character in "[<(") - (character in "]>)")
        if character == separator and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]] if parts else []


def _singular(word: str) -> str:
    return word if word.strip().lower() in _KINDS else word.strip().removesuffix("s")


def subschemas(schema: Any) -> Iterator[dict[str, Any]]:
    """The schema and every schema nested in it, under any keyword; default and constant values are not schemas."""
    if not isinstance(schema, dict):
        return
    yield schema
    for key, value in schema.items():
        if key in ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"):
            nested = list(value.values()) if isinstance(value, dict) else []
        elif key in ("anyOf", "oneOf", "allOf", "prefixItems"):
            nested = value if isinstance(value, list) else []
        elif key in ("items", "additionalProperties", "contains", "not", "if", "then", "else", "propertyNames"):
            nested = [value]
        else:
            nested = []
        for part in nested:
            yield from subschemas(part)


def dangling_reference(schema: dict[str, Any]) -> str | None:
    """The first `$ref` that does not resolve within the schema; a validator would fail on it instead of deciding."""
    references = (part["$ref"] for part in subschemas(schema) if "$ref" in part)
    return next((str(reference) for reference in references if not _resolves(reference, schema)), None)


def _resolves(reference: Any, root: dict[str, Any]) -> bool:
    if not isinstance(reference, str) or not reference.startswith("#"):
        return False
    target: Any = root
    for step in reference[1:].split("/")[1:]:
        target = target.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(target, dict) else None
    return isinstance(target, dict) and "$ref" not in target
