"""Validation against JSON Schemas that models wrote: nothing is fetched, and no pattern runs without a time limit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import regex
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import create
from referencing import Registry
from referencing.exceptions import Unresolvable

PATTERN_S = 0.1
"""Time limit in seconds for matching one text; without it, a pathological pattern would block all dialogues."""

_TOO_DEEP = "it is too deeply nested"
MAX_LEVELS = 64
"""Levels of objects and lists in a schema. A limit of our own: Python's depends on what else a process has imported."""

_VALUE_ERRORS = (ArithmeticError, ValueError)
"""Errors of multipleOf for numbers beyond a float, NaN and Infinity, which Python's JSON accepts, and of keywords that
are not supported here."""


def schema_error(value: Any, schema: dict[str, Any]) -> str | None:
    """Return the first violation of a JSON Schema by `value`, or None.

    An unusable schema is a violation, too: a reference that is unresolvable, external or endlessly recursive, or a
    pattern that is invalid or too slow.
    """
    try:
        validator = _validator(json.dumps(schema, sort_keys=True))
        errors = sorted(validator.iter_errors(value), key=lambda e: list(map(str, e.path)))
    except (Unresolvable, RecursionError, regex.error, TimeoutError, *_VALUE_ERRORS) as error:
        return f"the schema itself cannot be used: {error}"
    if not errors:
        return None
    path = ".".join(str(part) for part in errors[0].path)
    return f"{path + ': ' if path else ''}{errors[0].message}"


@lru_cache(maxsize=4096)
def schema_problem(schema: str) -> str | None:
    """Return why a text in JSON is not a JSON Schema, or None if it is one. Cached: each line of a data set repeats its
    domain's tools, and a check takes milliseconds."""
    try:
        value = json.loads(schema)
    except RecursionError:
        return _TOO_DEEP
    if _levels_exceed(value, MAX_LEVELS):
        return _TOO_DEEP
    try:
        Draft202012Validator.check_schema(value)
    except SchemaError as error:
        return error.message
    return None


def _levels_exceed(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most):
        parts = [part.values() if isinstance(part, dict) else part for part in level if isinstance(part, dict | list)]
        level = [child for part in parts for child in part if isinstance(child, dict | list)]
        if not level:
            return False
    return True


@lru_cache(maxsize=4096)
def _validator(schema: str) -> Any:
    # Without an explicit registry, jsonschema fetches whatever a $ref names, files included.
    return _Validator(json.loads(schema), registry=Registry())


def _matches(pattern: str, text: str) -> bool:
    try:
        return regex.search(pattern, text, timeout=PATTERN_S) is not None
    except TimeoutError:
        raise TimeoutError(f"the pattern {pattern!r} takes too long") from None


def _pattern(validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(value, "string") and not _matches(pattern, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: dict[str, Any], value: Any, schema: Any) -> Iterator[ValidationError]:
    for name, part in value.items() if validator.is_type(value, "object") else ():
        for pattern, schema_of_part in patterns.items():
            if _matches(pattern, name):
                yield from validator.descend(part, schema_of_part, path=name, schema_path=pattern)


def _additional_properties(validator: Any, allowed: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    patterns = schema.get("patternProperties", {})
    if patterns and validator.is_type(value, "object"):
        value = {name: part for name, part in value.items() if not any(_matches(p, name) for p in patterns)}
        schema = {key: part for key, part in schema.items() if key != "patternProperties"}
    yield from Draft202012Validator.VALIDATORS["additionalProperties"](validator, allowed, value, schema)


def _unevaluated_properties(validator: Any, allowed: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    """jsonschema's implementation would match names against patterns without a time limit."""
    raise ValueError("unevaluatedProperties is not supported; additionalProperties is")


_Validator = create(
    Draft202012Validator.META_SCHEMA,
    {
        **Draft202012Validator.VALIDATORS,
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "unevaluatedProperties": _unevaluated_properties,
    },
    type_checker=Draft202012Validator.TYPE_CHECKER,
)
