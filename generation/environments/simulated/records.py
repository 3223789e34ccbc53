"""Extracts the records that a JSON value describes: objects with their own identifier, and their scalar fields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from generation.specs.naming import Words, alike, bare_name, identifier_key, identifies, own_identifier
from generation.specs.spelling import singular, snake

_COPIED_FIELDS = {"name", "title", "email", "phone"}
_CALL_FIELDS = {"success", "ok", "message", "error", "note", "rows_affected", "result", "deleted", "updated", "created"}
_STATUS_FIELDS = {"status", "state"}
_CALL_OUTCOMES = {
    "success",
    "successful",
    "ok",
    "okay",
    "done",
    "error",
    "failed",
    "updated",
    "created",
    "deleted",
    "completed",
}
WRAPPERS = {"result", "results", "data", "records", "rows", "entries", "matches", "list", "value", "response"}
_SEARCH_FIELDS = {"rank", "position", "score", "relevance", "distance", "similarity"}
_MAX_DEPTH = 20


@dataclass(frozen=True)
class EntityRecord:
    """`key` names the record ("order_id=7"); `fields` are its scalars, nested ones by path ("address.city")."""

    key: str
    fields: dict[str, Any]


def is_scalar(value: Any) -> bool:
    """Whether a value is a string, a number or a boolean. Null carries no information, so it does not count."""
    return isinstance(value, str | int | float | bool)


def is_identifier_value(value: Any) -> bool:
    """Whether a value can identify a record: an integer, or a string of 1 to 100 characters."""
    return (isinstance(value, str) and 0 < len(value) <= 100) or (
        isinstance(value, int) and not isinstance(value, bool)
    )


def identifier_field(key: str) -> str:
    """The identifier's field name: "order_id" for "order_id=7"."""
    return key.partition("=")[0]


def kind_of(key: str) -> Words:
    """What kind of record a key names: ("order",) for "order_id=7"."""
    return identifies(identifier_field(key)) or ()


def same_record(key: str, other: str) -> bool:
    """Whether two keys may name the same record: "account_id=7" and "from_account_id=7"."""
    return key.partition("=")[2] == other.partition("=")[2] and alike(kind_of(key), kind_of(other))


def record_keys(value: Any, kind: Words, depth: int = 0) -> Iterator[str]:
    """The key of every record named anywhere in a JSON value; `kind` resolves a bare "id".

    >>> list(record_keys({"id": 7, "customer": {"id": 3}, "tag_ids": [1, 2]}, ("order",)))
    ['order_id=7', 'customer_id=3', 'tag_id=1', 'tag_id=2']
    """
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, list):
        for item in value:
            yield from record_keys(item, kind, depth + 1)
    elif isinstance(value, dict):
        for field, part in value.items():
            yield from _keys_in_field(field, part, kind)
            yield from record_keys(part, _kind_in_field(field, kind), depth + 1)


def _keys_in_field(field: str, value: Any, kind: Words) -> Iterator[str]:
    """The records that one field names; a field such as user_ids names one per item."""
    name = field if identifies(field) is not None else singular(field)
    if identifies(name) is not None:
        for item in value if isinstance(value, list) else [value]:
            if is_identifier_value(item) and (key := identifier_key(name, item, kind)):
                yield key


def _kind_in_field(field: str, kind: Words) -> Words:
    """The kind of record inside a field: that of the field's name, or `kind` for a wrapper such as "results"."""
    return kind if snake(field) in WRAPPERS else tuple(singular(snake(field)).split("_"))


def extract_records(value: Any, kind: Words, row: bool = False, depth: int = 0) -> list[EntityRecord]:
    """The records in an answer about `kind`, nested ones included. `row` marks an item of a list.

    >>> order, customer = extract_records({"order_id": 7, "total": 5, "customer": {"id": 3, "name": "Ann"}}, ("order",))
    >>> order
    EntityRecord(key='order_id=7', fields={'total': 5, 'customer.id': 3, 'customer.name': 'Ann'})
    >>> customer
    EntityRecord(key='customer_id=3', fields={'name': 'Ann'})
    """
    if depth > _MAX_DEPTH:
        return []
    if isinstance(value, list):
        return _records_in_rows([item for item in value if isinstance(item, dict)], kind, depth)
    if not isinstance(value, dict):
        return []
    nested = [record for field, part in value.items() for record in records_in_field(field, part, kind, row, depth)]
    own, key = _own_identifier(value, kind, row)
    if not key:
        return nested
    return [EntityRecord(key, {name: part for name, part in scalar_fields(value) if name != own}), *nested]


def _own_identifier(value: dict[str, Any], kind: Words, row: bool) -> tuple[str | None, str | None]:
    """(the field that identifies a record, the record's key); None for each that is missing."""
    own = own_identifier((field for field, part in value.items() if is_identifier_value(part)), kind, row)
    return own, identifier_key(own, value[own], kind) if own else None


def _records_in_rows(rows: list[dict[str, Any]], kind: Words, depth: int) -> list[EntityRecord]:
    """Rows with the same identifier but different content are parts of that record, not the record itself."""
    first_rows: dict[str | None, dict[str, Any]] = {}
    keys = [_own_identifier(row, kind, True)[1] for row in rows]
    shared_keys = {key for key, row in zip(keys, rows, strict=True) if first_rows.setdefault(key, row) != row}
    extracted: list[EntityRecord] = []
    for key, row in zip(keys, rows, strict=True):
        row_records = extract_records(row, kind, True, depth + 1)
        extracted += row_records[1:] if key is not None and key in shared_keys else row_records
    return extracted


def records_in_field(field: str, value: Any, kind: Words, row: bool, depth: int) -> list[EntityRecord]:
    """The records in one field of an answer."""
    if not isinstance(value, dict | list):
        return []
    inner_kind = _kind_in_field(field, kind)
    # Only the field's name says what a nested object is: {"order_id": 7, "customer": {"customer_id": 3}}.
    return extract_records(value, inner_kind, row or inner_kind is not kind, depth + 1)


def scalar_fields(value: dict[str, Any], path: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """(path, scalar) for every non-null scalar, except fields of the search itself such as rank and score."""
    for field, part in value.items():
        if isinstance(part, dict) and depth < _MAX_DEPTH:
            yield from scalar_fields(part, f"{path}{field}.", depth + 1)
        elif is_scalar(part) and not set(snake(field).split("_")) & _SEARCH_FIELDS:
            yield f"{path}{field}", part


def copied_records(record: EntityRecord) -> Iterator[EntityRecord]:
    """What a record states about another one: a booking's member_id and member_name describe the member.

    >>> [copy.key for copy in copied_records(EntityRecord("booking_id=5", {"member_id": 3, "member_name": "Ann"}))]
    ['member_id=3']
    """
    for field, value in record.fields.items():
        stem = identifies(field)
        copied = {
            name: part
            for name, part in record.fields.items()
            if stem and bare_name(name, stem) != snake(name) and set(snake(name).split("_")) & _COPIED_FIELDS
        }
        if copied and is_identifier_value(value):
            yield EntityRecord(f"{snake(field)}={value}", copied)


def without_call_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that describe the record, without those that describe the call: "success", "status": "done"."""
    return {
        name: value
        for name, value in fields.items()
        if snake(name) not in _CALL_FIELDS
        and not (set(snake(name).split("_")) & _STATUS_FIELDS and str(value).casefold() in _CALL_OUTCOMES)
    }
