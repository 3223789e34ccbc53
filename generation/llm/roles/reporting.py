"""How the stand-in's agent reads results, whatever their form, and tells a user what they say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

_ROWS, _FIELDS = 3, 4  # of a result of which nothing particular is asked for
_BROKEN = ("error", "exception", "failed", "traceback")


def read(content: str) -> Any:
    """The JSON value of a result, or its text."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content


def failed(value: Any) -> bool:
    """Whether a result says that nothing was found or done."""
    if isinstance(value, dict):
        return bool(value.get("error")) or value.get("rows_affected") == 0 or value.get("success") is False
    return value in ([], None, "") or (isinstance(value, str) and value.lower().startswith(_BROKEN))


def reason(value: Any) -> str:
    """Why a result is a failure, in its own words; '' where it says nothing."""
    return str(value if isinstance(value, str) else dig(value, "error") or "").removesuffix(".")


def dig(value: Any, field: str) -> Any:
    """The first value of a field in a result, the outermost first; None where there is none."""
    level = [value]
    while level:
        for part in level:
            if isinstance(part, dict) and part.get(field) not in (None, [], {}):
                return part[field]
        level = [inner for part in level for inner in _parts(part)]
    return None


def report(what: str, value: Any, tell: Sequence[str], changed: bool, last: bool) -> str:
    """What to say of one result: the fields to tell, of every row. A change is reported in any case; a result of which nothing is
    to be told only if it is the `last` word on the wish `what`."""
    said = "; ".join(filter(None, (_told(row, tell) for row in _rows(value, tell)))) if tell else ""
    if not said and last and (isinstance(value, str) or not changed):
        said = _summary(value)
    if changed:
        return f"Done: {what}" + (f" ({said})." if said else ".")
    return f"Here is what I found: {said.removesuffix('.')}." if said else ""


def _rows(value: Any, tell: Sequence[str]) -> list[Any]:
    """The rows of a result that hold these fields: itself, its members, or those of a list within it."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict) and not any(name in value for name in tell):
        for part in value.values():
            if isinstance(part, list) and part and dig(part[0], tell[0]) is not None:
                return part
    return [value]


def _told(row: Any, tell: Sequence[str]) -> str:
    if not isinstance(row, dict):
        return _text(row)
    found = {name: dig(row, name) for name in tell}
    return ", ".join(f"{name.replace('_', ' ')} {_text(part)}" for name, part in found.items() if part is not None)


def _summary(value: Any) -> str:
    if not isinstance(value, dict | list):
        return _text(value)
    rows = value[:_ROWS] if isinstance(value, list) else [value]
    return "; ".join(filter(None, (_few(row) for row in rows)))


def _few(row: Any) -> str:
    if not isinstance(row, dict):
        return _text(row)
    plain = [(name, part) for name, part in row.items() if isinstance(part, str | int | float) and part != ""]
    return ", ".join(f"{name.replace('_', ' ')} {_text(part)}" for name, part in plain[:_FIELDS])


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value
