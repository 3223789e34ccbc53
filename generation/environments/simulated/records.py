"""The records that a JSON value speaks of, each known by an identifier of its own, and their plain fields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from generation.specs.naming import Words, alike, identifier_key, identifies, own_identifier
from generation.specs.spelling import singular, snake

WRAPPERS = {"result", "results", "data", "records", "rows", "entries", "matches", "list", "value", "response"}
_OF_THE_QUERY = {"rank", "position", "score", "relevance", "distance", "similarity"}
_MAX_DEPTH = 20


@dataclass(frozen=True)
class EntityRecord:
    """`key` names it ("order_id=7"); `fields` are its scalars, those of objects within it by path ("address.city")."""

    key: str
    fields: dict[str, Any]


def scalar(value: Any) -> bool:
    """Whether a value is plain, and says something: null does not."""
    return isinstance(value, str | int | float | bool)


def is_name(value: Any) -> bool:
    """Whether a value can identify something."""
    return (isinstance(value, str) and 0 < len(value) <= 100) or (
        isinstance(value, int) and not isinstance(value, bool)
    )


def field_of(key: str) -> str:
    """The identifier's name: order_id of "order_id=7"."""
    return key.partition("=")[0]


def thing(key: str) -> Words:
    """What kind of thing a record is: (order) of "order_id=7"."""
    return identifies(field_of(key)) or ()


def same(key: str, other: str) -> bool:
    """Whether two names may mean one record: "account_id=7" and "from_account_id=7"."""
    return key.partition("=")[2] == other.partition("=")[2] and alike(thing(key), thing(other))


def mentions(value: Any, about: Words, depth: int = 0) -> Iterator[str]:
    """Every record named anywhere in a JSON value."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, list):
        for item in value:
            yield from mentions(item, about, depth + 1)
    elif isinstance(value, dict):
        for field, part in value.items():
            yield from _named(field, part, about)
            yield from mentions(part, about if snake(field) in WRAPPERS else _kind(field), depth + 1)


def _named(field: str, value: Any, about: Words) -> Iterator[str]:
    """The records named by one field; user_ids name one each."""
    one = field if identifies(field) is not None else singular(field)
    if identifies(one) is not None:
        for item in value if isinstance(value, list) else [value]:
            if is_name(item) and (key := identifier_key(one, item, about)):
                yield key


def _kind(field: str) -> Words:
    return tuple(singular(snake(field)).split("_"))


def records(value: Any, about: Words, row: bool = False, depth: int = 0) -> list[EntityRecord]:
    """The records in an answer about what `about` names, those nested in others included; a `row` is one of a list."""
    if depth > _MAX_DEPTH:
        return []
    if isinstance(value, list):
        return _rows([item for item in value if isinstance(item, dict)], about, depth)
    if not isinstance(value, dict):
        return []
    within = [record for field, part in value.items() for record in records_within(field, part, about, row, depth)]
    own, key = _own(value, about, row)
    return [EntityRecord(key, {f: v for f, v in plain_fields(value) if f != own}), *within] if key else within


def _own(value: dict[str, Any], about: Words, row: bool) -> tuple[str | None, str | None]:
    """The field that identifies a record, and the record's name."""
    own = own_identifier((field for field, part in value.items() if is_name(part)), about, row)
    return own, identifier_key(own, value[own], about) if own else None


def _rows(rows: list[dict[str, Any]], about: Words, depth: int) -> list[EntityRecord]:
    """Rows that share their identifier and yet differ are parts of the record, not the record."""
    first: dict[str | None, dict[str, Any]] = {}
    keys = [_own(row, about, True)[1] for row in rows]
    parts = {key for key, row in zip(keys, rows, strict=True) if first.setdefault(key, row) != row}
    found = []
    for key, row in zip(keys, rows, strict=True):
        told = records(row, about, True, depth + 1)
        found += told[1:] if key is not None and key in parts else told
    return found


def records_within(field: str, value: Any, about: Words, row: bool, depth: int) -> list[EntityRecord]:
    """The records in one field of an answer."""
    inherited = about if snake(field) in WRAPPERS else _kind(field)
    # An object in an object says whose it is by its field's name only: {"order_id": 7, "customer": {"customer_id": 3}}.
    return records(value, inherited, row or inherited is not about, depth + 1) if isinstance(value, dict | list) else []


def plain_fields(value: dict[str, Any], path: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """(path, scalar) of an object, but for what belongs to a search rather than to the record. A null says nothing."""
    for field, part in value.items():
        if isinstance(part, dict) and depth < _MAX_DEPTH:
            yield from plain_fields(part, f"{path}{field}.", depth + 1)
        elif scalar(part) and not set(snake(field).split("_")) & _OF_THE_QUERY:
            yield f"{path}{field}", part
