"""What a call and its answer say and do, as far as the names in them tell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from generation.environments.simulated.records import (
    WRAPPERS,
    EntityRecord,
    field_of,
    is_name,
    mentions,
    plain_fields,
    records,
    records_within,
    thing,
)
from generation.specs.naming import (
    Words,
    action,
    alike,
    bare_name,
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
_COPIED = {"name", "title", "email", "phone"}
_OF_THE_CALL = {"success", "ok", "message", "error", "note", "rows_affected", "result", "deleted", "updated", "created"}
_STATES = {"status", "state"}
_DONE = {"success", "successful", "ok", "okay", "done", "error", "failed", "updated", "created", "deleted", "completed"}
_NOT_FOUND = re.compile(
    r"not found|no such|not exist|n't exist|unknown (?!error)|\bno \w+ (?:with|has|for|found)|cannot find", re.I
)

_PASSING = re.compile(r"try again|busy|timed? ?-?out|unavailable|temporar|overload|rate limit", re.I)


@dataclass(frozen=True)
class ToolCallFacts:
    """One call with its answer, and what can be told from the names in it."""

    name: str
    arguments: dict[str, Any]
    value: Any

    @cached_property
    def about(self) -> Words:
        return entity_words(self.name)

    @cached_property
    def reads(self) -> bool:
        return not changes(self.name)

    @cached_property
    def given(self) -> tuple[str, ...]:
        """The records named in the arguments."""
        return tuple(dict.fromkeys(mentions(self.arguments, self.about)))

    @cached_property
    def target(self) -> str | None:
        """The record that the call is about: update_booking_room(booking_id, room_id) is about the booking."""
        found = [(self.about.index(thing(key)[-1]), key) for key in self.given if thing(key)[-1] in self.about]
        return min(found, key=lambda pair: pair[0])[1] if found else None

    @cached_property
    def changed(self) -> str | None:
        """The record that a change is about: the target, or the only one named, as in change_city(customer_id, city)."""
        return self.target or (self.given[0] if len(self.given) == 1 else None)

    @cached_property
    def conditions(self) -> tuple[str, ...]:
        """Arguments beside the target's name on which the answer may depend: a date, a unit, another record. Flags only choose
        what is shown, and so does paging."""
        named = field_of(self.target) if self.target else ""
        return tuple(
            name
            for name, value in self.arguments.items()
            if value is not None
            and not isinstance(value, bool)
            and snake(name) not in _PAGING
            and snake(name) != named
            and not (identifies(name) == () and named)
        )

    @cached_property
    def paged(self) -> bool:
        return any(snake(name) in _PAGING for name in self.arguments)

    @cached_property
    def head(self) -> bool:
        """Whether the call asks for the target itself, as get_order(order_id) does, and for nothing of or beside it."""
        return self.target is not None and thing(self.target) == self.about and not self.conditions

    @cached_property
    def error(self) -> str:
        """Why the call failed; empty if it did not."""
        return str(self.value["error"]) if isinstance(self.value, dict) and self.value.get("error") else ""

    @cached_property
    def passing(self) -> bool:
        """Whether the call failed for a reason that passes: made again it may succeed."""
        return bool(_PASSING.search(self.error))

    @cached_property
    def nothing(self) -> bool:
        """Whether the answer is that there is no such thing."""
        return self.value in ([], {}, None, "") or bool(self.error and _NOT_FOUND.search(self.error))

    @cached_property
    def in_vain(self) -> bool:
        """Whether the call failed, found nothing or did nothing: beside names, its answer holds only nulls, zeros and blanks."""
        if self.error or self.nothing or not self.reads:
            return self.without_effect or self.nothing
        told = self.value.items() if isinstance(self.value, dict) else [("", self.value)]
        return not any(part for field, part in told if identifies(field) is None)

    @cached_property
    def without_effect(self) -> bool:
        """Whether nothing was changed: it only reads, or says that it did not succeed."""
        if self.error or self.reads or not isinstance(self.value, dict):
            return bool(self.error) or self.reads
        refused = any(self.value.get(flag) is False for flag in ("success", "ok"))
        return refused or self.value.get("rows_affected") == 0 or self.value.get("status") in ("failed", "error")

    @cached_property
    def updates(self) -> bool:
        return action(self.name) == "update" and not connected(self.name)

    @cached_property
    def deletes(self) -> bool:
        """Whether the target is gone for good afterwards; what is removed from something else still exists."""
        alone = len(self.given) == 1 and not connected(self.name)
        return (
            action(self.name) == "delete"
            and alone
            and self.target is not None
            and alike(thing(self.target), self.about)
        )

    @cached_property
    def restores(self) -> bool:
        return action(self.name) == "restore"

    @cached_property
    def creates(self) -> bool:
        """Whether a new record comes to be; start_subscription(subscription_id) makes none."""
        own = self.target is not None and alike(thing(self.target), self.about) and not connected(self.name)
        return self.created is not None or (creates(self.name) and not own)

    @cached_property
    def created(self) -> str | None:
        """The record that a creating call made: the one named in its answer and not in its arguments."""
        if not creates(self.name) or not isinstance(self.value, dict):
            return None
        old = {str(key.partition("=")[2]) for key in self.given}
        new = {f: v for f, v in self.value.items() if identifies(f) is not None and is_name(v) and str(v) not in old}
        own = own_identifier(new, self.about, True) or next(iter(new), None)
        return identifier_key(own, new[own], self.about) if own else None

    @cached_property
    def stated(self) -> dict[str, Any]:
        """What the arguments say of the record that is made or updated; new_email is its email, a wrapped update unwrapped."""
        fields: dict[str, Any] = {}
        for name, value in self.arguments.items():
            if isinstance(value, dict) and snake(name) in {"updates", "changes", "fields", *WRAPPERS}:
                fields |= dict(plain_fields(value))
            else:
                fields |= dict(plain_fields({name.removeprefix("new_"): value}))
        own = None if self.creates else self.changed
        return {n: v for n, v in fields.items() if n != "id" and f"{snake(n)}={v}" != own}

    @cached_property
    def spoken_of(self) -> tuple[EntityRecord, ...]:
        """The records of the answer, with what it says of them. What depends on further conditions says nothing in general;
        what a changing call says of itself is nothing about the record."""
        if self.error:
            return ()
        told = [record for record in self._told() if not (self.reads and self.conditions and record.key == self.target)]
        if not self.reads:
            told = [EntityRecord(record.key, _of_the_record(record.fields)) for record in told]
        return (*told, *(copy for record in told for copy in _copies(record)))

    def _told(self) -> list[EntityRecord]:
        if self.created is None:
            return records(self.value, self.about)
        # book_flight(flight_id) returns a booking: that it also names the flight does not make it one.
        told = {n: v for n, v in plain_fields(self.value) if not _is(n, v, self.created, self.about)}
        parts = [
            record for name, part in self.value.items() for record in records_within(name, part, self.about, False, 0)
        ]
        return [EntityRecord(self.created, told), *parts]


def _is(field: str, value: Any, key: str, about: Words) -> bool:
    return identifies(field) is not None and is_name(value) and identifier_key(field, value, about) == key


def _copies(record: EntityRecord) -> Iterator[EntityRecord]:
    """What a record says by the way of another that it names: a booking's member_id and member_name speak of the member."""
    for field, value in record.fields.items():
        stem = identifies(field)
        copied = {
            name: part
            for name, part in record.fields.items()
            if stem and bare_name(name, stem) != snake(name) and set(snake(name).split("_")) & _COPIED
        }
        if copied and is_name(value):
            yield EntityRecord(f"{snake(field)}={value}", copied)


def _of_the_record(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in fields.items()
        if snake(name) not in _OF_THE_CALL
        and not (set(snake(name).split("_")) & _STATES and str(value).casefold() in _DONE)
    }
