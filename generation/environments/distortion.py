"""Results as they should not be: a column that is called otherwise or is gone, a list that shows only part of what there is.

What is chosen depends on a `Chance` alone, so that the same thing is missing whenever one looks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

_HIDDEN = 0.5
"""The share of rows, or of values in one column, that a partial view leaves out."""


@dataclass(frozen=True)
class Chance:
    """Numbers in [0, 1) that look random, each fixed by `of` and by what it is asked for."""

    of: tuple[Any, ...]

    def __call__(self, *what: Any) -> float:
        digest = blake2b(json.dumps([*self.of, *what]).encode(), digest_size=8).digest()
        return (int.from_bytes(digest) >> 11) / 2**53

    def about(self, *what: Any) -> Chance:
        """The chances of a narrower matter."""
        return Chance((*self.of, *what))

    def pick(self, names: Iterable[str]) -> str | None:
        """One of the names, whatever their order; None of none."""
        return min(names, key=self, default=None)


def other_name(name: str) -> str:
    """What another version of an interface might call it: member_id is memberId and the other way round, name is name_value."""
    head, *words = name.split("_")
    camel = head + "".join(word.capitalize() for word in words)
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return next((other for other in (camel, snake) if other not in ("", name)), f"{name}_value")


def columns(value: Any, returns: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The fields of a result's records: those declared, and where none are, those of its first one."""
    declared = _properties(_items(returns)) or _properties(returns)
    first = value[0] if isinstance(value, list) and value else value
    return tuple(declared or (first if isinstance(first, dict) else ()))


def without_column(value: Any, column: str, name: str | None) -> Any:
    """A record or a list of them with `column` under another `name`, or gone where that is None; other values as they are."""
    if isinstance(value, list):
        return [without_column(row, column, name) if isinstance(row, dict) else row for row in value]
    if not isinstance(value, dict):
        return value
    named = {(name if key == column else key): part for key, part in value.items()}
    return {key: part for key, part in named.items() if key is not None}


def partial_view(value: Any, returns: Mapping[str, Any] | None, chance: Chance) -> Any:
    """A list without some of its rows, never all, or without one field in some of them, never the first field nor one that
    `returns` requires. In a record the lists in it are cut, and "truncated": true says so where `returns` allows it. Any
    other value as it is."""
    if isinstance(value, list):
        return _part(value, _items(returns), chance)
    if not isinstance(value, dict):
        return value
    known = _properties(returns)
    seen = {
        name: _part(part, _items(known.get(name)), chance.about(name)) if isinstance(part, list) else part
        for name, part in value.items()
    }
    open_ended = not returns or returns.get("additionalProperties", True) is not False
    return {**seen, "truncated": True} if seen != value and open_ended else seen


def _part(rows: list[Any], schema: Mapping[str, Any] | None, chance: Chance) -> list[Any]:
    field = chance.about("field").pick(_optional(rows, schema)) if chance("by field") < _HIDDEN else None
    drawn = [chance("row", _identity(row)) for row in rows]
    if field is not None:
        return [
            without_column(row, field, None) if number < _HIDDEN and isinstance(row, dict) else row
            for row, number in zip(rows, drawn, strict=True)
        ]
    # Where all would be hidden the last of them to be so is shown: its place in the list does not matter.
    limit = min(_HIDDEN, max(drawn, default=0.0))
    return [row for row, number in zip(rows, drawn, strict=True) if number >= limit]


def _optional(rows: Sequence[Any], schema: Mapping[str, Any] | None) -> list[str]:
    required = set((schema or {}).get("required", ()))
    first = rows[0] if rows and isinstance(rows[0], dict) else {}
    return [name for name in list(first)[1:] if name not in required]


def _identity(row: Any) -> Any:
    """A record's first field, which names it as a rule: so it stays hidden after it was changed."""
    return next(iter(row.values()), None) if isinstance(row, dict) else row


def _items(schema: Any) -> Mapping[str, Any] | None:
    items = schema.get("items") if isinstance(schema, Mapping) else None
    return items if isinstance(items, Mapping) else None


def _properties(schema: Any) -> Mapping[str, Any]:
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    return properties if isinstance(properties, Mapping) else {}
