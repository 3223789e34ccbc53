"""JSON Schemas of what the writer of databases answers: a sentence, an outline, the columns of a table."""

from __future__ import annotations

from typing import Any, get_args

from generation.database.spec import PROVIDERS, Type
from generation.specs.structured import object_schema

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "number"}
_INTEGER: Schema = {"type": "integer"}
_TEXTS: Schema = {"type": "array", "items": _TEXT, "minItems": 1}
_SCALAR: Schema = {"type": ["string", "number"]}

SENTENCE = object_schema({"sentence": _TEXT})


def outline(fewest: int, most: int) -> Schema:
    details: Schema = {"column": _TEXT, "missing": _NUMBER, "skewed": {"type": "boolean"}}
    reference = {"anyOf": [_TEXT, object_schema({"table": _TEXT}, details)]}
    table = object_schema({"name": _TEXT, "rows": _INTEGER, "refers_to": {"type": "array", "items": reference}})
    tables = {"type": "array", "items": table, "minItems": fewest, "maxItems": most}
    return object_schema({"title": _TEXT, "description": _TEXT, "tables": tables})


def _column(kind: str, types: list[str], required: Schema, optional: Schema | None = None) -> Schema:
    common = {"name": _TEXT, "type": {"enum": types}, "kind": {"enum": [kind]}}
    return object_schema(common | required, (optional or {}) | {"unique": {"type": "boolean"}, "missing": _NUMBER})


_COLUMNS = [
    _column("faker", ["text"], {"provider": {"enum": list(PROVIDERS)}}),
    _column("words", ["text"], {"parts": {"type": "array", "items": _TEXTS, "minItems": 1, "maxItems": 4}}),
    _column(
        "choices",
        ["text", "integer", "number"],
        {"options": {"type": "array", "items": _SCALAR, "minItems": 2, "maxItems": 40}},
        {"weights": {"type": "array", "items": _NUMBER}},
    ),
    _column("pattern", ["text"], {"pattern": _TEXT}),
    _column(
        "numbers",
        ["integer", "number"],
        {"low": _NUMBER, "high": _NUMBER, "step": _NUMBER},
        {"shape": {"enum": ["uniform", "normal", "skewed"]}},
    ),
    _column("dates", ["date"], {"first": _TEXT, "last": _TEXT}),
    _column("times", ["time"], {"first": _TEXT, "last": _TEXT}, {"step_minutes": _INTEGER}),
    _column("flag", ["boolean"], {"share": _NUMBER}),
    _column("product", ["number", "integer"], {"of": _TEXTS}),
    _column("days_after", ["date"], {"of": _TEXT, "fewest": _INTEGER, "most": _INTEGER}),
    _column("copied", list(get_args(Type)), {"through": _TEXT, "of": _TEXT}),
    _column("email", ["text"], {"of": _TEXT}),
]
_CHECK = object_schema({"column": _TEXT, "op": {"enum": [">", ">=", "<", "<="]}}, {"value": _SCALAR, "other": _TEXT})


def table(fewest: int, most: int) -> Schema:
    columns = {"type": "array", "items": {"anyOf": _COLUMNS}, "minItems": fewest, "maxItems": most}
    return object_schema(
        {"columns": columns}, {"checks": {"type": "array", "items": _CHECK}, "unique_together": _TEXTS}
    )
