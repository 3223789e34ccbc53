"""How the stand-in's agent tells a user what results say, whatever their form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from generation.scripted.results import dig, rows

_ROWS, _FIELDS = 3, 4  # of a result of which nothing particular is asked for


def reason(value: Any) -> str:
    """Why a result is a failure, in its own words; '' where it says nothing."""
    return str(value if isinstance(value, str) else dig(value, "error") or "").removesuffix(".")


def report(what: str, value: Any, tell: Sequence[str], changed: bool, last: bool) -> str:
    """What to say of one result: the fields to tell, of every row. A change is reported in any case; a result of which nothing is
    to be told only if it is the `last` word on the wish `what`."""
    said = "; ".join(filter(None, (_told(row, tell) for row in rows(value, tell)))) if tell else ""
    if not said and last and (isinstance(value, str) or not changed):
        said = _summary(value)
    if changed:
        return f"Done: {what}" + (f" ({said})." if said else ".")
    return f"Here is what I found: {said.removesuffix('.')}." if said else ""


def _told(row: Any, tell: Sequence[str]) -> str:
    if not isinstance(row, dict):
        return _text(row)
    found = {name: dig(row, name) for name in tell}
    return ", ".join(f"{name.replace('_', ' ')} {_text(part)}" for name, part in found.items() if part is not None)


def _summary(value: Any) -> str:
    if not isinstance(value, dict | list):
        return _text(value)
    shown = value[:_ROWS] if isinstance(value, list) else [value]
    return "; ".join(filter(None, (_few(row) for row in shown)))


def _few(row: Any) -> str:
    if not isinstance(row, dict):
        return _text(row)
    plain = [(name, part) for name, part in row.items() if isinstance(part, str | int | float) and part != ""]
    return ", ".join(f"{name.replace('_', ' ')} {_text(part)}" for name, part in plain[:_FIELDS])


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
