"""JSON Schemas of what the writer of databases answers: a sentence, an outline, a link, the columns of a table.

They admit little that a check would refuse, as far as grammars can express it: small models seldom repair such faults.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from generation.database.spec import PROVIDERS, FakerValues, Provider, TableOutline, Type
from generation.specs.structured import object_schema
from generation.synthesis.outline_checks import MAX_MISSING
from generation.synthesis.ranges import names_rows

Schema = dict[str, Any]

_MOST_ITEMS = 16
"""Of a list of options or words: small models do not end them otherwise."""


def _text(pattern: str) -> Schema:
    return {"type": "string", "pattern": pattern}


def _numbers(kind: str, low: float, high: float) -> Schema:
    return {"type": kind, "minimum": low, "maximum": high}


_TEXT: Schema = {"type": "string"}
# Without counted repetitions: xgrammar takes seconds to compile some, and refuses others.
_NAME = _text("^[a-z][a-z0-9]*(_[a-z0-9]+)?(_[a-z0-9]+)?(_[a-z0-9]+)?(_[a-z0-9]+)?$")
_COLUMN_NAME = _text(f"^([a-hj-z]|i[a-ce-z0-9])[a-z0-9]*{'(_([a-hj-z0-9]|i[a-ce-z0-9])[a-z0-9]*)?' * 4}$")
"""Without parts that begin with "id": keys and references have a place of their own in an answer. As an alternative of
its own, "i" alone would make xgrammar admit them."""
_TITLE_WORD = f"[a-z]{'([a-z]' * 19}{')?' * 19}"
"""Of at most 20 letters: files are named after titles, and a small model may not end a word otherwise."""
_TITLE = _text(f"^{_TITLE_WORD}{f'([ -]{_TITLE_WORD})?' * 3}$")
_DESCRIPTION = _text("^[A-ZÀ-Þ][A-Za-z0-9À-ÿ'-]* [A-Za-z0-9À-ÿ'-]+ [A-Za-z0-9À-ÿ'-]+ [A-Za-z0-9À-ÿ ,.:;&'()-]+$")
_WORD = _text("^[A-Za-z0-9À-ÿ][A-Za-z0-9À-ÿ .,&/+:%°-]*$")
_CODE = _text("^[A-Za-z0-9 /.-]*[#?][A-Za-z0-9 /.#?-]+$")
_DAY = _text("^(19|20)[0-9][0-9]-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")
_TIME = _text("^([01][0-9]|2[0-3]):[0-5][0-9]$")
_NUMBER: Schema = {"type": "number"}
_INTEGER: Schema = {"type": "integer"}
_BOOLEAN: Schema = {"type": "boolean"}
_SCALAR: Schema = {"type": ["string", "number"]}
_MISSING = _numbers("number", 0, MAX_MISSING)

SENTENCE = object_schema({"sentence": _TEXT})


def _list(items: Schema, fewest: int = 1, most: int = _MOST_ITEMS) -> Schema:
    return {"type": "array", "items": items, "minItems": fewest, "maxItems": most}


def outline(tables: tuple[int, int], rows: tuple[int, int]) -> Schema:
    details = {"column": _NAME, "missing": _MISSING, "skewed": _BOOLEAN}
    reference = {"anyOf": [_NAME, object_schema({"table": _NAME}, details)]}
    table = object_schema(
        {"name": _NAME, "rows": _numbers("integer", *rows), "refers_to": _list(reference, 0, tables[1])}
    )
    return object_schema({"title": _TITLE, "description": _DESCRIPTION, "tables": _list(table, *tables)})


def link(options: Sequence[str]) -> Schema:
    return object_schema({"link": {"enum": list(options)}})


def _column(
    kind: str, types: Iterable[str], required: Schema, optional: Schema | None = None, gaps: bool = True
) -> Schema:
    common = {"name": _COLUMN_NAME, "type": {"enum": list(types)}, "kind": {"enum": [kind]}}
    further = {"unique": _BOOLEAN} | ({"missing": _MISSING} if gaps else {})
    return object_schema(common | required, (optional or {}) | further)


def _choices(type_: str, option: Schema) -> Schema:
    return _column("choices", [type_], {"options": _list(option, 2)}, {"weights": _list(_NUMBER, 2)})


def _range(type_: str, number: Schema) -> Schema:
    shape = {"enum": ["uniform", "normal", "skewed"]}
    return _column("numbers", [type_], {"low": number, "high": number, "step": number}, {"shape": shape})


_COLUMNS = [
    _column("faker", ["text"], {"provider": {"enum": list(PROVIDERS)}}),
    _column("words", ["text"], {"parts": _list(_list(_WORD), 1, 4)}),
    _choices("text", _WORD),
    _choices("integer", _INTEGER),
    _choices("number", _NUMBER),
    _column("pattern", ["text"], {"pattern": _CODE}),
    _range("integer", _INTEGER),
    _range("number", _NUMBER),
    _column("dates", ["date"], {"first": _DAY, "last": _DAY}),
    _column("times", ["time"], {"first": _TIME, "last": _TIME}, {"step_minutes": _INTEGER}),
    _column("flag", ["boolean"], {"share": _numbers("number", 0.01, 0.99)}),
    _column("product", ["number", "integer"], {"of": _list(_NAME, 1, 3)}),
    _column("days_after", ["date"], {"of": _NAME, "fewest": _INTEGER, "most": _INTEGER}),
    _column("email", ["text"], {"of": _NAME}),
]
_COMPARED = {"column": _NAME, "op": {"enum": [">", ">=", "<", "<="]}}
_CHECK = {"anyOf": [object_schema(_COMPARED | {"value": _SCALAR}), object_schema(_COMPARED | {"other": _NAME})]}


def table(
    outline: TableOutline, columns: tuple[int, int], copied: Mapping[str, Iterable[str]], named_rows: int = 0
) -> Schema:
    """The columns of a table: its key and references by name, then as many others as given, in which `copied` are the
    references to other tables, each with the columns that can be copied. With `named_rows`, the first of these has
    enough values for people to tell so many rows apart."""
    first = [object_schema({"name": {"enum": [name]}}) for name in outline.key_columns]
    copies = [
        _column("copied", get_args(Type), {"through": {"enum": [through]}, "of": {"enum": list(names)}})
        for through, names in copied.items()
    ]
    items = _list({"anyOf": [*_COLUMNS, *copies]}, *(len(first) + number for number in columns))
    items["prefixItems"] = [*first, *([{"anyOf": _naming_columns(named_rows)}] if named_rows else [])]
    return object_schema({"columns": items}, {"checks": _list(_CHECK, 0, 4), "unique_together": _list(_NAME, 2, 4)})


def _naming_columns(rows: int) -> list[Schema]:
    """What table_checks takes for the names of rows: each generator makes at least half as many values as there are."""
    providers = [name for name in get_args(Provider) if names_rows(FakerValues(kind="faker", provider=name), rows)]
    fewest = min(math.ceil(math.sqrt(rows / 2)), _MOST_ITEMS)
    return [
        _column("faker", ["text"], {"provider": {"enum": providers}}, gaps=False),
        _column("words", ["text"], {"parts": _list(_list(_WORD, fewest), 2, 3)}, gaps=False),
        _column("pattern", ["text"], {"pattern": _CODE}, gaps=False),
    ]
