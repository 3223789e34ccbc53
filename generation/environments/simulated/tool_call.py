"""Infers from names alone what a tool call reads, changes, creates or deletes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from generation.environments.simulated.records import (
    WRAPPERS,
    EntityRecord,
    copied_records,
    extract_records,
    identifier_field,
    is_identifier_value,
    kind_of,
    record_keys,
    records_in_field,
    scalar_fields,
    without_call_fields,
)
from generation.specs.naming import (
    Words,
    action,
    alike,
    changes,
    connected,
    creates,
    entity_words,
    identifier_key,
    identifies,
    own_identifier,
)
from generation.specs.spelling import snake

_PAGING = {"limit", "offset", "page", "page_size", "per_page", "max_results", "sort", "sort_by", "order_by", "fields"}
_UPDATE_WRAPPERS = {"updates", "changes", "fields", *WRAPPERS}
_NOT_FOUND = re.compile(
    r"not found|no such|not exist|n't exist|unknown (?!error)|\bno \w+ (?:with|has|for|found)|cannot find", re.I
)
_TRANSIENT = re.compile(r"try again|busy|timed? ?-?out|unavailable|temporar|overload|rate limit", re.I)


@dataclass(frozen=True)
class ToolCallFacts:
    """One tool call with its answer, and what the names in both reveal.

    A read of one record:

    >>> read = ToolCallFacts("get_order", {"order_id": 7}, {"order_id": 7, "customer_id": 3, "customer_name": "Ann"})
    >>> read.reads, read.kind, read.target, read.fetches_target
    (True, ('order',), 'order_id=7', True)
    >>> [(record.key, record.fields) for record in read.stated_records]
    [('order_id=7', {'customer_id': 3, 'customer_name': 'Ann'}), ('customer_id=3', {'customer_name': 'Ann'})]

    A read under further conditions, whose answer says nothing about the room in general:

    >>> free = ToolCallFacts("get_room", {"room_id": 1, "date": "monday"}, {"room_id": 1, "free": True})
    >>> free.target, free.conditions, free.fetches_target, free.stated_records
    ('room_id=1', ('date',), False, ())

    A creation; the answer names the new record:

    >>> booking = ToolCallFacts("book_table", {"table_id": 2, "guests": 4}, {"booking_id": 5, "table_id": 2})
    >>> booking.creates, booking.created_record, booking.named_records, booking.stated_fields
    (True, 'booking_id=5', ('table_id=2',), {'table_id': 2, 'guests': 4})

    An update, a deletion, and the removal of a part, which still exists afterwards:

    >>> update = ToolCallFacts("update_customer", {"customer_id": 3, "new_city": "Oslo"}, {"success": True})
    >>> update.updates, update.changed_record, update.stated_fields
    (True, 'customer_id=3', {'city': 'Oslo'})
    >>> ToolCallFacts("delete_order", {"order_id": 7}, {"rows_affected": 1}).deletes
    True
    >>> ToolCallFacts("remove_item_from_cart", {"cart_id": 1, "item_id": 2}, {"ok": True}).deletes
    False

    Calls that failed, found nothing or changed nothing:

    >>> ToolCallFacts("get_order", {"order_id": 9}, {"error": "order 9 not found"}).not_found
    True
    >>> ToolCallFacts("get_order", {"order_id": 9}, {"error": "the service is busy"}).is_transient_error
    True
    >>> ToolCallFacts("update_order", {"order_id": 9}, {"rows_affected": 0}).changed_nothing
    True
    >>> ToolCallFacts("get_order_items", {"order_id": 9}, {"order_id": 9, "items": []}).failed_or_empty
    True
    """

    name: str
    arguments: dict[str, Any]
    value: Any

    # What the call is about.

    @cached_property
    def kind(self) -> Words:
        """The kind of record in the tool's name: ("order",) for get_order_status."""
        return entity_words(self.name)

    @cached_property
    def reads(self) -> bool:
        return not changes(self.name)

    @cached_property
    def named_records(self) -> tuple[str, ...]:
        """The records named in the arguments."""
        return tuple(dict.fromkeys(record_keys(self.arguments, self.kind)))

    @cached_property
    def target(self) -> str | None:
        """The record that the call is about: the booking for update_booking_room(booking_id, room_id)."""
        candidates = [key for key in self.named_records if kind_of(key)[-1] in self.kind]
        return min(candidates, key=lambda key: self.kind.index(kind_of(key)[-1]), default=None)

    @cached_property
    def changed_record(self) -> str | None:
        """The record that a change is about: the target, or the only record named: change_city(customer_id, city)."""
        return self.target or (self.named_records[0] if len(self.named_records) == 1 else None)

    @cached_property
    def conditions(self) -> tuple[str, ...]:
        """Arguments besides the target's identifier on which the answer may depend: a date, a unit, another record.

        Booleans and paging are left out: they only choose what is shown.
        """
        target_field = identifier_field(self.target) if self.target else ""

        def names_target(argument: str) -> bool:
            return bool(target_field) and (snake(argument) == target_field or identifies(argument) == ())

        return tuple(
            name
            for name, value in self.arguments.items()
            if value is not None
            and not isinstance(value, bool)
            and snake(name) not in _PAGING
            and not names_target(name)
        )

    @cached_property
    def is_paged(self) -> bool:
        return any(snake(name) in _PAGING for name in self.arguments)

    @cached_property
    def fetches_target(self) -> bool:
        """Whether the call asks for the target itself, unconditionally: get_order(order_id), not get_order_items."""
        return self.target is not None and kind_of(self.target) == self.kind and not self.conditions

    @cached_property
    def _acts_on_target(self) -> bool:
        """Whether the name means the target itself: start_subscription(subscription_id), not add_item_to_cart."""
        return self.target is not None and alike(kind_of(self.target), self.kind) and not connected(self.name)

    # How the call went.

    @cached_property
    def error(self) -> str:
        """Why the call failed; empty if it did not."""
        return str(self.value["error"]) if isinstance(self.value, dict) and self.value.get("error") else ""

    @cached_property
    def is_transient_error(self) -> bool:
        """Whether the call failed for a temporary reason, so that a retry may succeed."""
        return bool(_TRANSIENT.search(self.error))

    def denies(self, key: str) -> bool:
        """Whether the error says that a record does not exist: "no order with id 7 exists" for order_id=7, but not "no
        items for order 7"."""
        kind = rf"{kind_of(key)[-1]}\b"
        return bool(
            re.search(
                rf"\bno (?:such )?{kind}(?! \w+s\b)|\b{kind}[^.,;]{{0,30}}(?:not found|not exist|n't exist|unknown)"
                rf"|(?:unknown|not find|not found:?) (?:an? |the )?{kind}",
                self.error,
                re.I,
            )
        )

    @cached_property
    def not_found(self) -> bool:
        """Whether the answer is empty or says that the record does not exist."""
        return self.value in ([], {}, None, "") or bool(self.error and _NOT_FOUND.search(self.error))

    @cached_property
    def failed_or_empty(self) -> bool:
        """Whether the call failed, changed nothing, or found only identifiers with nulls, zeros and blanks."""
        if self.error or self.not_found:
            return True
        if not self.reads:
            return self.changed_nothing
        fields = self.value.items() if isinstance(self.value, dict) else [("", self.value)]
        return not any(part for field, part in fields if identifies(field) is None)

    @cached_property
    def changed_nothing(self) -> bool:
        """Whether the call only reads, failed, or reports that it did not succeed."""
        if self.error or self.reads:
            return True
        if not isinstance(self.value, dict):
            return False
        refused = any(self.value.get(flag) is False for flag in ("success", "ok"))
        return refused or self.value.get("rows_affected") == 0 or self.value.get("status") in ("failed", "error")

    # What a change does.

    @cached_property
    def updates(self) -> bool:
        return action(self.name) == "update" and not connected(self.name)

    @cached_property
    def deletes(self) -> bool:
        """Whether the target no longer exists afterwards; what is removed from something else still does."""
        return action(self.name) == "delete" and len(self.named_records) == 1 and self._acts_on_target

    @cached_property
    def restores(self) -> bool:
        return action(self.name) == "restore"

    @cached_property
    def creates(self) -> bool:
        """Whether the call adds a record; start_subscription(subscription_id) does not."""
        return self.created_record is not None or (creates(self.name) and not self._acts_on_target)

    @cached_property
    def created_record(self) -> str | None:
        """The record that a creating call added: the one named in its answer and not in its arguments."""
        if not creates(self.name) or not isinstance(self.value, dict):
            return None
        named = {str(key.partition("=")[2]) for key in self.named_records}
        new = {
            field: part
            for field, part in self.value.items()
            if identifies(field) is not None and is_identifier_value(part) and str(part) not in named
        }
        own = own_identifier(new, self.kind, True) or next(iter(new), None)
        return identifier_key(own, new[own], self.kind) if own else None

    # What the call states about records.

    @cached_property
    def stated_fields(self) -> dict[str, Any]:
        """The fields that the arguments give a created or updated record.

        new_email sets email; an update wrapped in an object is unwrapped.
        """
        fields: dict[str, Any] = {}
        for name, value in self.arguments.items():
            if isinstance(value, dict) and snake(name) in _UPDATE_WRAPPERS:
                fields |= dict(scalar_fields(value))
            else:
                fields |= dict(scalar_fields({name.removeprefix("new_"): value}))
        own = None if self.creates else self.changed_record
        return {name: value for name, value in fields.items() if name != "id" and f"{snake(name)}={value}" != own}

    @cached_property
    def stated_records(self) -> tuple[EntityRecord, ...]:
        """The records in the answer, with the fields it gives them.

        A read under further conditions says nothing about its target in general; what a changing call reports about
        itself, such as "success", says nothing about the record.
        """
        if self.error:
            return ()
        stated = self._answer_records()
        if not self.reads:
            stated = [EntityRecord(record.key, without_call_fields(record.fields)) for record in stated]
        elif self.conditions:
            stated = [record for record in stated if record.key != self.target]
        return (*stated, *(copy for record in stated for copy in copied_records(record)))

    def _answer_records(self) -> list[EntityRecord]:
        if self.created_record is None:
            return extract_records(self.value, self.kind)
        # book_flight(flight_id) returns a booking: that the answer also names the flight does not make it a flight.
        fields = {
            name: value
            for name, value in scalar_fields(self.value)
            if not _is_identifier_of(self.created_record, name, value, self.kind)
        }
        nested = [
            record for name, part in self.value.items() for record in records_in_field(name, part, self.kind, False, 0)
        ]
        return [EntityRecord(self.created_record, fields), *nested]


def _is_identifier_of(key: str, field: str, value: Any, kind: Words) -> bool:
    return identifies(field) is not None and is_identifier_value(value) and identifier_key(field, value, kind) == key
