"""Phrases in which the stand-in's agent reports tool results of any form."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from generation.scripted.results import dig, rows

_MAX_ROWS, _MAX_FIELDS = 3, 4  # of a result without particular fields to tell


def reason(result: Any) -> str:
    """The reason that a failed call gives; '' if it gives none."""
    return str(result if isinstance(result, str) else dig(result, "error") or "").removesuffix(".")


def report(subgoal: str, result: Any, tell: Sequence[str], computed: Sequence[Any], changed: bool, last: bool) -> str:
    """One result in a sentence: the fields to tell, of every row, and the computed answers. A change is always
    reported; a result without anything to tell only if it comes from the `last` call of its subgoal."""
    told = [_fields(row, tell) for row in rows(result, tell)] if tell else []
    details = "; ".join(filter(None, [*told, *map(_text, computed)]))
    if not details and last and (isinstance(result, str) or not changed):
        details = _summary(result)
    if changed:
        return f"Done: {subgoal}" + (f" ({details})." if details else ".")
    return f"Here is what I found: {details.removesuffix('.')}." if details else ""


def _fields(row: Any, names: Sequence[str]) -> str:
    if not isinstance(row, dict):
        return _text(row)
    return _listing((name, value) for name in names if (value := dig(row, name)) is not None)


def _summary(result: Any) -> str:
    if not isinstance(result, dict | list):
        return _text(result)
    first_rows = result[:_MAX_ROWS] if isinstance(result, list) else [result]
    return "; ".join(filter(None, (_first_fields(row) for row in first_rows)))


def _first_fields(row: Any) -> str:
    if not isinstance(row, dict):
        return _text(row)
    scalars = [(name, value) for name, value in row.items() if isinstance(value, str | int | float) and value != ""]
    return _listing(scalars[:_MAX_FIELDS])


def _listing(fields: Iterable[tuple[str, Any]]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_text(value)}" for name, value in fields)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
