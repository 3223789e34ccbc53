"""JSON Schemas of what the writer of databases answers: a sentence, an outline, the columns of a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from generation.database.spec import PROVIDERS, Type
from generation.specs.structured import object_schema

Schema = dict[str, Any]

_MOST_ITEMS = 16
"""Of a list of options or words: small models do not end them otherwise."""

_TEXT: Schema = {"type": "string"}
_NAME: Schema = {"type": "string", "pattern": "^[a-z][a-z0-9]*(_[a-z0-9]+)*$"}
_DAY: Schema = {"type": "string", "pattern": "^(19|20)[0-9][0-9]-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"}
_TIME: Schema = {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"}
_NUMBER: Schema = {"type": "number"}
_INTEGER: Schema = {"type": "integer"}
_BOOLEAN: Schema = {"type": "boolean"}
_SCALAR: Schema = {"type": ["string", "number"]}

SENTENCE = object_schema({"sentence": _TEXT})


def _list(items: Schema, fewest: int = 1, most: int = _MOST_ITEMS) -> Schema:
    return {"type": "array", "items": items, "minItems": fewest, "maxItems": most}


def outline(fewest: int, most: int) -> Schema:
    details = {"column": _NAME, "missing": _NUMBER, "skewed": _BOOLEAN}
    reference = {"anyOf": [_NAME, object_schema({"table": _NAME}, details)]}
    table = object_schema({"name": _NAME, "rows": _INTEGER, "refers_to": _list(reference, 0, most)})
    return object_schema({"title": _TEXT, "description": _TEXT, "tables": _list(table, fewest, most)})


def _column(kind: str, types: Iterable[str], required: Schema, optional: Schema | None = None) -> Schema:
    common = {"name": _NAME, "type": {"enum": list(types)}, "kind": {"enum": [kind]}}
    return object_schema(common | required, (optional or {}) | {"unique": _BOOLEAN, "missing": _NUMBER})


_COLUMNS = [
    _column("faker", ["text"], {"provider": {"enum": list(PROVIDERS)}}),
    _column("words", ["text"], {"parts": _list(_list(_TEXT), 1, 4)}),
    _column("choices", ["text", "integer", "number"], {"options": _list(_SCALAR, 2)}, {"weights": _list(_NUMBER, 2)}),
    _column("pattern", ["text"], {"pattern": _TEXT}),
    _column(
        "numbers",
        ["integer", "number"],
        {"low": _NUMBER, "high": _NUMBER, "step": _NUMBER},
        {"shape": {"enum": ["uniform", "normal", "skewed"]}},
    ),
    _column("dates", ["date"], {"first": _DAY, "last": _DAY}),
    _column("times", ["time"], {"first": _TIME, "last": _TIME}, {"step_minutes": _INTEGER}),
    _column("flag", ["boolean"], {"share": _NUMBER}),
    _column("product", ["number", "integer"], {"of": _list(_NAME, 1, 3)}),
    _column("days_after", ["date"], {"of": _NAME, "fewest": _INTEGER, "most": _INTEGER}),
    _column("email", ["text"], {"of": _NAME}),
]
_CHECK = object_schema({"column": _NAME, "op": {"enum": [">", ">=", "<", "<="]}}, {"value": _SCALAR, "other": _NAME})


def table(fewest: int, most: int, references: Mapping[str, Iterable[str]]) -> Schema:
    """The columns of a table; `references` are those to other tables, each with the columns that can be copied."""
    copied = [
        _column("copied", get_args(Type), {"through": {"enum": [through]}, "of": {"enum": list(names)}})
        for through, names in references.items()
    ]
    columns = _list({"anyOf": [*_COLUMNS, *copied]}, fewest, most)
    return object_schema({"columns": columns}, {"checks": _list(_CHECK, 0, 4), "unique_together": _list(_NAME, 2, 4)})
