"""Distorted results: a column that is renamed or missing, a list that shows only part of its rows.

What is chosen depends on a `Chance` alone, so repeated calls miss the same parts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

_HIDDEN_SHARE = 0.5
"""The share of rows, or of values in one column, that a partial view leaves out."""


@dataclass(frozen=True)
class Chance:
    """Pseudo-random numbers in [0, 1), each determined by `key` and the arguments of the call."""

    key: tuple[Any, ...]

    def __call__(self, *parts: Any) -> float:
        digest = blake2b(json.dumps([*self.key, *parts]).encode(), digest_size=8).digest()
        return (int.from_bytes(digest) >> 11) / 2**53

    def scoped(self, *parts: Any) -> Chance:
        """The same with `parts` added to the key."""
        return Chance((*self.key, *parts))

    def pick(self, names: Iterable[str]) -> str | None:
        """One of the names, independent of their order; None if there are no names."""
        return min(names, key=self, default=None)


def other_name(name: str) -> str:
    """The name another interface version might use: member_id ↔ memberId, name → name_value."""
    head, *words = name.split("_")
    camel = head + "".join(word.capitalize() for word in words)
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return next((other for other in (camel, snake) if other not in ("", name)), f"{name}_value")


def column_names(value: Any, returns: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The fields of a result's records: the declared ones, otherwise those of the first record."""
    declared = _properties(_items(returns)) or _properties(returns)
    first = value[0] if isinstance(value, list) and value else value
    return tuple(declared or (first if isinstance(first, dict) else ()))


def replace_column(value: Any, column: str, name: str | None) -> Any:
    """A record, or a list of records, with `column` renamed to `name` or, if None, removed; other values unchanged."""
    if isinstance(value, list):
        return [replace_column(row, column, name) if isinstance(row, dict) else row for row in value]
    if not isinstance(value, dict):
        return value
    replaced = {(name if key == column else key): part for key, part in value.items()}
    return {key: part for key, part in replaced.items() if key is not None}


def partial_view(value: Any, returns: Mapping[str, Any] | None, chance: Chance) -> Any:
    """A list without some rows, though never all, or without one field in some rows; other values unchanged.

    The field is never the first one nor one that `returns` requires. In a record, the lists in it are shortened, and
    "truncated": true says so where `returns` allows it.
    """
    if isinstance(value, list):
        return _hide(value, _items(returns), chance)
    if not isinstance(value, dict):
        return value
    known = _properties(returns)
    visible = {
        name: _hide(part, _items(known.get(name)), chance.scoped(name)) if isinstance(part, list) else part
        for name, part in value.items()
    }
    open_ended = not returns or returns.get("additionalProperties", True) is not False
    return {**visible, "truncated": True} if visible != value and open_ended else visible


def _hide(rows: list[Any], schema: Mapping[str, Any] | None, chance: Chance) -> list[Any]:
    field = chance.scoped("field").pick(_optional(rows, schema)) if chance("by field") < _HIDDEN_SHARE else None
    numbers = [chance("row", _row_key(row)) for row in rows]
    if field is not None:
        return [
            replace_column(row, field, None) if number < _HIDDEN_SHARE and isinstance(row, dict) else row
            for row, number in zip(rows, numbers, strict=True)
        ]
    # If all rows would be hidden, the one with the highest number is shown, wherever it is in the list.
    limit = min(_HIDDEN_SHARE, max(numbers, default=0.0))
    return [row for row, number in zip(rows, numbers, strict=True) if number >= limit]


def _optional(rows: Sequence[Any], schema: Mapping[str, Any] | None) -> list[str]:
    required = set((schema or {}).get("required", ()))
    first = rows[0] if rows and isinstance(rows[0], dict) else {}
    return [name for name in list(first)[1:] if name not in required]


def _row_key(row: Any) -> Any:
    """A record's first field, usually its identifier, so that a hidden row stays hidden after a change."""
    return next(iter(row.values()), None) if isinstance(row, dict) else row


def _items(schema: Any) -> Mapping[str, Any] | None:
    items = schema.get("items") if isinstance(schema, Mapping) else None
    return items if isinstance(items, Mapping) else None


def _properties(schema: Any) -> Mapping[str, Any]:
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    return properties if isinstance(properties, Mapping) else {}
