"""What simulated tools have stated about each record so far.

A record is an object with its own identifier (`generation.specs.naming`); its facts are its scalar fields. Only names
and values reveal what a change does, so wherever it may have reached further than it states, facts are forgotten rather
than kept wrongly:

- an update sets the fields that its arguments state; the target keeps its other texts but loses numbers, flags,
  statuses and dates, and every field related by name to an argument;
- a creation adds a record with its arguments and its answer; the records it names lose numbers, flags, statuses and
  dates;
- a deletion marks its target as missing; records that refer to it are forgotten;
- any other change (cancel, pay, assign) leaves the records that it names only their names and identifiers;
- records that refer to a changed one, or that it refers to, lose numbers, flags, statuses, dates and fields related to
  an argument;
- a change that names no known record may have reached any record of its kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from generation.environments.simulated.records import EntityRecord, kind_of, record_keys, same_record
from generation.environments.simulated.tool_call import ToolCallFacts
from generation.specs.naming import Words, alike, identifies
from generation.specs.spelling import snake

Fields = dict[str, Any]

_NAME_WORDS = {"name", "title", "label"}
_CHANGEABLE_WORDS = {"status", "state", "stage", "phase", "date", "time"}
_TIME = re.compile(r"\d{4}-\d\d|\d{1,2}:\d\d|\d{1,2}[/.]\d{1,2}[/.]\d{2,4}")


class KnownRecords:
    """`fields` maps each existing record to its known fields, by key ("order_id=7").

    `missing` are records deleted or not found, `maybe_unlisted` those that a change may have taken off a list.

    >>> known = KnownRecords()
    >>> known.learn([EntityRecord("customer_id=3", {"name": "Ann", "city": "Rome", "points": 40})])
    >>> known.apply_change(ToolCallFacts("update_customer", {"customer_id": 3, "city": "Oslo"}, {"success": True}))
    ('customer_id=3',)
    >>> known.fields  # points may follow from the city
    {'customer_id=3': {'name': 'Ann', 'city': 'Oslo'}}
    >>> known.apply_change(ToolCallFacts("suspend_customer", {"customer_id": 3}, {"success": True}))
    ('customer_id=3',)
    >>> known.fields, list(known.maybe_unlisted)
    ({'customer_id=3': {'name': 'Ann'}}, ['customer_id=3'])
    >>> known.apply_change(ToolCallFacts("delete_customer", {"customer_id": 3}, {"success": True}))
    ('customer_id=3',)
    >>> known.fields, list(known.missing)
    ({}, ['customer_id=3'])
    """

    def __init__(self) -> None:
        self.fields: dict[str, Fields] = {}
        self.missing: dict[str, None] = {}
        self.maybe_unlisted: dict[str, None] = {}

    def copy(self) -> KnownRecords:
        copy = KnownRecords()
        copy.fields = {key: dict(fields) for key, fields in self.fields.items()}
        copy.missing, copy.maybe_unlisted = dict(self.missing), dict(self.maybe_unlisted)
        return copy

    def learn(self, records: Iterable[EntityRecord]) -> None:
        """Add what was stated about these records; later statements overwrite earlier ones."""
        for record in records:
            self.missing.pop(record.key, None)
            self.maybe_unlisted.pop(record.key, None)
            self.fields.setdefault(record.key, {}).update(record.fields)

    def mark_missing(self, key: str) -> None:
        """Record that `key` does not exist (any more)."""
        self.fields.pop(key, None)
        self.missing[key] = None

    def apply_change(self, change: ToolCallFacts) -> tuple[str, ...]:
        """Update the facts for a change, before its answer is learnt. Returns the records it may have reached."""
        named = [key for key in self.fields if self._is_named(key, change)]
        linked = self._linked([*change.named_records, *named], change)
        reached = [*change.named_records, *named, *linked]
        if not reached and not change.creates:
            reached = named = [key for key in self.fields if not change.kind or kind_of(key)[-1] in change.kind]
        argument_words = () if change.creates else _argument_words(change)
        only_stated_fields = change.updates or change.creates
        for key in [*named, *linked]:
            self._forget(key, argument_words, texts=key in named and not only_stated_fields)
            if not only_stated_fields:
                self.maybe_unlisted[key] = None
        self._apply_statement(change, named)
        return tuple(dict.fromkeys([*reached, *record_keys(change.value, change.kind)]))

    def _apply_statement(self, change: ToolCallFacts, named: Sequence[str]) -> None:
        """Apply what the change states itself: a record created, or its target updated, deleted or restored."""
        target = change.changed_record
        if change.deletes and target:
            self._delete([target, *named])
        elif change.created_record:
            self.learn([EntityRecord(change.created_record, change.stated_fields)])
        elif change.creates:  # the new record's identifier is unknown: any missing one of its kind may exist now
            self.missing = {key: None for key in self.missing if not alike(kind_of(key), change.kind)}
        elif target:
            self.missing.pop(target, None)
            if change.updates:
                self.learn([EntityRecord(target, change.stated_fields)])

    def _delete(self, keys: Sequence[str]) -> None:
        """Mark records as missing. What belonged to `keys[0]`, the target, may be gone too: it is forgotten."""
        for key in [
            key for key, fields in self.fields.items() if any(same_record(r, keys[0]) for r in _references(fields))
        ]:
            del self.fields[key]
        for key in dict.fromkeys(keys):
            self.mark_missing(key)

    def _is_named(self, key: str, change: ToolCallFacts) -> bool:
        """Whether the arguments name a record, by this or another identifier: order 7 by its order_number."""
        aliases = (
            f"{snake(name)}={value}"
            for name, value in self.fields[key].items()
            if alike(identifies(name) or (), kind_of(key))
        )
        return any(same_record(key, named) for named in change.named_records) or any(
            alias in change.named_records for alias in aliases
        )

    def _linked(self, named: Sequence[str], change: ToolCallFacts) -> list[str]:
        """The records that the named ones refer to, and those that refer to them.

        A creation only adds to the records it names, so what refers to them stays as it is.
        """
        referenced = [reference for key in named for reference in _references(self.fields.get(key, {}))]
        referenced += record_keys(change.value, change.kind)

        def refers_to_named(fields: Fields) -> bool:
            return any(same_record(reference, key) for reference in _references(fields) for key in named)

        return [
            key
            for key, fields in self.fields.items()
            if key not in named
            and (
                any(same_record(key, reference) for reference in referenced)
                or (not change.creates and refers_to_named(fields))
            )
        ]

    def _forget(self, key: str, argument_words: Sequence[Words], texts: bool) -> None:
        """Drop numbers, flags, statuses, dates and fields related to an argument.

        With `texts`, drop every field except names and identifiers.
        """
        others = [words for words in argument_words if not alike(words, kind_of(key))]

        def may_have_changed(name: str, value: Any) -> bool:
            if _is_related(name, others):
                return True
            if identifies(name) is not None:
                return False
            return _is_changeable(name, value) or (texts and not _NAME_WORDS & set(snake(name).split("_")))

        self.fields[key] = {
            name: value for name, value in self.fields[key].items() if not may_have_changed(name, value)
        }


def _references(fields: Fields) -> Iterator[str]:
    """The keys of the other records that a record's fields name."""
    for name, value in fields.items():
        if identifies(name):
            yield f"{snake(name)}={value}"


def _is_changeable(name: str, value: Any) -> bool:
    """Whether a value is a number, a flag, a status or a date."""
    if isinstance(value, int | float):
        return True
    return bool(_CHANGEABLE_WORDS & set(snake(name).split("_"))) or bool(_TIME.match(str(value)))


def _argument_words(change: ToolCallFacts) -> list[Words]:
    """The words of each argument's name, and of a field that an argument names: {"field": "city", "value": "Rome"}."""
    field_names = (
        str(value) for name, value in change.stated_fields.items() if snake(name) in {"field", "column", "attribute"}
    )
    return [identifies(name) or tuple(snake(name).split("_")) for name in [*change.stated_fields, *field_names]]


def _is_related(field: str, arguments: Iterable[Words]) -> bool:
    """Whether a field shares its last word with an argument, or one name contains the other (room_id and room_name)."""
    words = tuple(snake(field).split("_"))
    return any(
        argument[-1] == words[-1] or set(argument) <= set(words) or set(words) <= set(argument)
        for argument in arguments
    )
