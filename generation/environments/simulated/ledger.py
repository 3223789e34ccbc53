"""What simulated tools have answered and changed in a dialogue, so that they never contradict themselves.

The state is the list of calls with their answers; everything else follows from it. An answer contradicts earlier ones
where it gives a known field another value (`known_records`), names a record that does not exist, finds none although it
exists, omits a record from a list it belongs to, or returns another record than the one requested.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from generation.environments.base import PastCall
from generation.environments.simulated.known_records import Fields, KnownRecords
from generation.environments.simulated.records import (
    extract_records,
    identifier_field,
    is_scalar,
    kind_of,
    record_keys,
    same_record,
)
from generation.environments.simulated.tool_call import ToolCallFacts
from generation.specs.json_values import json_or_text
from generation.specs.naming import action, alike, bare_name, entity_words, identifies

_FULL_LIST = 10
"""A list with this many rows may have been cut off, so records not on it may still exist."""
_MAX_KNOWN = 40
"""The number of known records that `known_records` returns at most."""
_MAX_PROBLEMS = 5


class _Change(NamedTuple):
    """A change that took effect after `position` calls, with the records and kinds of record it may have reached."""

    position: int
    reached: tuple[str, ...]
    kinds: frozenset[str]


class Ledger:
    """Records calls with `record`; `contradiction` says whether another answer would be at odds with them.

    >>> ledger = Ledger([("get_customer", {"customer_id": 3}, '{"customer_id": 3, "name": "Ann", "city": "Rome"}')])
    >>> ledger.recorded_answer("get_customer", {"customer_id": 3})
    '{"customer_id": 3, "name": "Ann", "city": "Rome"}'
    >>> ledger.contradiction("get_order", {"order_id": 7}, {"order_id": 7, "customer_id": 3, "customer_name": "Al"})
    'customer_id=3 has name "Ann", not "Al"'
    >>> ledger.contradiction("search_customers", {"city": "Rome"}, [])
    'customer_id=3 is missing from the list: {"name": "Ann", "city": "Rome"}'
    >>> ledger.record("update_customer", {"customer_id": 3, "city": "Oslo"}, '{"success": true}')
    >>> ledger.recorded_answer("get_customer", {"customer_id": 3}) is None  # it may be another one now
    True
    >>> ledger.known_records("get_customer", {"customer_id": 3})
    {'customer_id=3': {'name': 'Ann', 'city': 'Oslo'}}
    >>> ledger.record("delete_customer", {"customer_id": 3}, '{"success": true}')
    >>> ledger.contradiction("get_customer", {"customer_id": 3}, {"customer_id": 3, "name": "Ann"})
    'customer_id=3 does not exist (any more): the call must fail or find nothing'
    """

    def __init__(self, calls: Iterable[PastCall] = ()) -> None:
        self.calls: list[PastCall] = []
        self._known = KnownRecords()
        self._changes: list[_Change] = []
        for name, arguments, content in calls:
            self.record(name, arguments, content)

    def record(self, name: str, arguments: dict[str, Any], content: str) -> None:
        """Record an answer, even one that contradicts earlier ones: then the later statement counts."""
        facts = ToolCallFacts(name, arguments, json_or_text(content))
        if facts.reads:
            self._known.learn(facts.stated_records)
            if facts.not_found and facts.fetches_target and facts.target:
                self._known.mark_missing(facts.target)
        elif not facts.changed_nothing:
            kinds = frozenset([*facts.kind, *(kind_of(key)[-1] for key in facts.named_records)])
            self._changes.append(_Change(len(self.calls), self._known.apply_change(facts), kinds))
            deleted = facts.target if facts.deletes else None
            self._known.learn(record for record in facts.stated_records if record.key != deleted)
        self.calls.append((name, arguments, content))

    def recorded_answer(self, name: str, arguments: dict[str, Any]) -> str | None:
        """The answer to the same reading call, unless it was a transient error or a later change may concern it."""
        key = json.dumps(arguments, sort_keys=True)
        for position in range(len(self.calls) - 1, -1, -1):
            past_name, past_arguments, content = self.calls[position]
            if past_name == name and json.dumps(past_arguments, sort_keys=True) == key:
                facts = ToolCallFacts(name, arguments, json_or_text(content))
                is_current = facts.reads and not facts.is_transient_error and not self._is_stale(facts, position)
                return content if is_current else None
        return None

    def contradiction(self, name: str, arguments: dict[str, Any], value: Any) -> str | None:
        """How this answer would contradict earlier ones, or None."""
        facts = ToolCallFacts(name, arguments, value)
        problems = [*self._existence_problems(facts)]
        if not facts.error:
            after = self._known.copy()
            if not facts.changed_nothing:
                after.apply_change(facts)
            problems += _field_conflicts(after, facts)
            if facts.reads:
                problems += [*self._omissions(facts), *_mismatches(facts)]
        return "; ".join(problems[:_MAX_PROBLEMS]) or None

    def known_records(self, name: str, arguments: dict[str, Any], value: Any = None) -> dict[str, Fields]:
        """The known records that a call concerns, and those named in `value`: key -> fields, or {"exists": False}.

        A call concerns the records named in its arguments and those that share a value with an argument; a call without
        arguments concerns all records of its kind.
        """
        facts = ToolCallFacts(name, arguments, value)
        wanted = dict.fromkeys([*facts.named_records, *record_keys(value, facts.kind)])
        scalars = [(argument, part) for argument, part in arguments.items() if is_scalar(part)]
        concerns_its_kind = not facts.conditions and not facts.named_records
        known, missing = self._known.fields, self._known.missing
        keys = [
            key
            for key in [*known, *missing]
            if any(same_record(key, other) for other in wanted)
            or any(known.get(key, {}).get(argument) == part for argument, part in scalars)
            or (concerns_its_kind and alike(kind_of(key), facts.kind))
        ]
        return {key: dict(known[key]) if key in known else {"exists": False} for key in keys[-_MAX_KNOWN:]}

    def must_fail(self, name: str, arguments: dict[str, Any]) -> bool:
        """Whether the record that the call is about is known not to exist."""
        facts = ToolCallFacts(name, arguments, None)
        return facts.target in self._known.missing and not facts.restores

    def related_calls(self, name: str, arguments: dict[str, Any], limit: int) -> list[PastCall]:
        """The last `limit` calls about the same kind of thing or the same records, oldest first."""
        kind = entity_words(name)
        keys = tuple(record_keys(arguments, kind))
        calls = [call for call in self.calls if _concerns(call, set(kind), keys)]
        return calls[-limit:] if limit else []

    # What an answer must not state.

    def _existence_problems(self, facts: ToolCallFacts) -> Iterator[str]:
        created, target = facts.created_record, facts.target
        if created and self._known.fields.get(created) and alike(kind_of(created), facts.kind):
            yield f"{created} exists already; a new record needs a new identifier"
        if target is None:
            return
        if target in self._known.missing and not facts.restores and not created:
            if not facts.failed_or_empty:
                yield f"{target} does not exist (any more): the call must fail or find nothing"
            return
        fetched = target if facts.fetches_target and _failed(facts) else None
        for key in facts.named_records:
            if (key == fetched or facts.denies(key)) and (fields := self._known.fields.get(key)):
                yield f"{key} exists: {_shown(fields)}"

    def _omissions(self, facts: ToolCallFacts) -> Iterator[str]:
        """Known records that match a plain listing but are not on it."""
        rows = _rows(facts.value)
        if action(facts.name) not in ("list", "search") or facts.is_paged or rows is None or len(rows) >= _FULL_LIST:
            return
        listed = {record.key for record in facts.stated_records}
        for key, fields in self._known.fields.items():
            if kind_of(key) != facts.kind or key in listed or key in self._known.maybe_unlisted or not fields:
                continue
            if all(name in fields and _equal(fields[name], value) for name, value in facts.arguments.items()):
                yield f"{key} is missing from the list: {_shown(fields)}"

    def _is_stale(self, facts: ToolCallFacts, position: int) -> bool:
        """Whether a change after call number `position` may concern this answer."""
        keys = list(dict.fromkeys([*facts.named_records, *record_keys(facts.value, facts.kind)]))
        later_changes = [change for change in self._changes if change.position > position]
        if not keys or not facts.kind:
            return bool(later_changes)
        return any(
            change.kinds & set(facts.kind) or any(same_record(key, other) for key in keys for other in change.reached)
            for change in later_changes
        )


def _failed(facts: ToolCallFacts) -> bool:
    """Whether the call found nothing or failed for good."""
    return facts.not_found or (bool(facts.error) and not facts.is_transient_error)


def _concerns(call: PastCall, kind: set[str], keys: Sequence[str]) -> bool:
    """Whether a call is about this kind of thing or names one of these records."""
    name, arguments, content = call
    call_kind = entity_words(name)
    call_keys = [*record_keys(arguments, call_kind), *record_keys(json_or_text(content), call_kind)]
    return bool(kind & set(call_kind)) or any(same_record(key, other) for key in call_keys for other in keys)


def _equal(one: Any, other: Any) -> bool:
    """Equality that tells True from 1."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _rows(value: Any) -> list[Any] | None:
    """The rows of a list, or of the only list in an object ({"orders": […], "total": 2}); None for other answers."""
    lists = [part for part in value.values() if isinstance(part, list)] if isinstance(value, dict) else [value]
    return lists[0] if len(lists) == 1 and isinstance(lists[0], list) else None


def _field_conflicts(known: KnownRecords, facts: ToolCallFacts) -> Iterator[str]:
    """Fields that differ from the known ones, or between two parts of the answer.

    `known` grows along the way.
    """
    for record in facts.stated_records:
        kind = kind_of(record.key)
        if record.key in known.missing and record.key not in (facts.target, facts.created_record):
            yield f"{record.key} does not exist (any more)"
        fields = known.fields.setdefault(record.key, {})
        for name, value in record.fields.items():
            bare = bare_name(name, kind)
            known_name = next((other for other in fields if bare_name(other, kind) == bare), name)
            if not _equal(fields.setdefault(known_name, value), value):
                yield f"{record.key} has {known_name} {_shown(fields[known_name])}, not {_shown(value)}"


def _mismatches(facts: ToolCallFacts) -> Iterator[str]:
    """Records other than the one requested, or that belong to another one than requested."""
    target = facts.target if facts.fetches_target else None
    rows = facts.value if isinstance(facts.value, list) else [facts.value]
    for record in (record for row in rows for record in extract_records(row, facts.kind)[:1]):
        for name, requested in facts.arguments.items():
            actual = record.fields.get(name)
            if identifies(name) and is_scalar(requested) and actual is not None and not _equal(actual, requested):
                yield f"{record.key} has {name} {_shown(actual)}, but {_shown(requested)} was requested"
        if target and identifier_field(record.key) == identifier_field(target) and record.key != target:
            yield f"{record.key} was returned, but {target} was requested"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
