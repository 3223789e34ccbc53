"""What simulated tools have said and done in a dialogue, so that they never contradict themselves.

The state is the list of calls with their answers; all else follows from it. An answer contradicts earlier ones where it gives
another value for a field that is held (`generation.environments.simulated.known_records`), speaks of a record that does not exist, finds none that
does, leaves one out of a list that it belongs to, or returns another one than was asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from generation.environments.base import PastCall
from generation.environments.simulated.known_records import Fields, KnownRecords
from generation.environments.simulated.records import field_of, mentions, records, same, scalar, thing
from generation.environments.simulated.tool_call import ToolCallFacts
from generation.specs.json_values import json_or_text
from generation.specs.naming import action, alike, bare_name, entity_words, identifies

_FULL_LIST = 10
"""A list of so many rows may have been cut off, so that what is not on it may yet exist."""
_SHOWN = 40


class _Change(NamedTuple):
    """A change that took effect after `position` calls: the records it may have reached, and the kinds of thing it is about."""

    position: int
    reached: tuple[str, ...]
    kinds: frozenset[str]


class Ledger:
    """Takes in calls with `record`; `contradiction` says whether another answer would be at odds with them."""

    def __init__(self, calls: Iterable[PastCall] = ()) -> None:
        self.calls: list[PastCall] = []
        self._beliefs = KnownRecords()
        self._changes: list[_Change] = []
        for name, arguments, content in calls:
            self.record(name, arguments, content)

    def record(self, name: str, arguments: dict[str, Any], content: str) -> None:
        """Take in an answer, even one that contradicts what was said: then the later word counts."""
        exchange = ToolCallFacts(name, arguments, json_or_text(content))
        if exchange.reads:
            self._beliefs.believe(exchange.spoken_of)
            if exchange.nothing and exchange.head and exchange.target:
                self._beliefs.lose(exchange.target)
        elif not exchange.without_effect:
            kinds = frozenset([*exchange.about, *(thing(key)[-1] for key in exchange.given)])
            self._changes.append(_Change(len(self.calls), self._beliefs.change(exchange), kinds))
            gone = exchange.target if exchange.deletes else None
            self._beliefs.believe(record for record in exchange.spoken_of if record.key != gone)
        self.calls.append((name, arguments, content))

    def recorded(self, name: str, arguments: dict[str, Any]) -> str | None:
        """The answer that the same reading call was given, if nothing has changed since that could concern it and it was not
        just that the service was busy."""
        asked = json.dumps(arguments, sort_keys=True)
        for position in range(len(self.calls) - 1, -1, -1):
            earlier, given, content = self.calls[position]
            if earlier == name and json.dumps(given, sort_keys=True) == asked:
                exchange = ToolCallFacts(name, arguments, json_or_text(content))
                fresh = exchange.reads and not exchange.passing and not self._stale(exchange, position)
                return content if fresh else None
        return None

    def contradiction(self, name: str, arguments: dict[str, Any], value: Any) -> str | None:
        """How this answer would contradict earlier ones, or None."""
        exchange = ToolCallFacts(name, arguments, value)
        problems = [*self._existence(exchange)]
        if not exchange.error:
            after = self._beliefs.copy()
            if not exchange.without_effect:
                after.change(exchange)
            problems += _conflicts(after, exchange)
            if exchange.reads:
                problems += [*self._left_out(exchange), *_not_asked_for(exchange)]
        return "; ".join(problems[:5]) or None

    def known(self, name: str, arguments: dict[str, Any], value: Any = None) -> dict[str, Fields]:
        """What is known of the records that a call concerns, and of those in `value`: record -> its fields, or {"exists": False}.

        A call concerns the records named in its arguments and those that have the values of its arguments; one without arguments
        concerns all of its kind.
        """
        exchange = ToolCallFacts(name, arguments, value)
        wanted = dict.fromkeys([*exchange.given, *mentions(value, exchange.about)])
        stated = [(n, v) for n, v in arguments.items() if scalar(v)]
        held, missing = self._beliefs.held, self._beliefs.missing
        keys = [
            key
            for key in [*held, *missing]
            if any(same(key, other) for other in wanted)
            or any(held.get(key, {}).get(n) == v for n, v in stated)
            or (not exchange.conditions and not exchange.given and alike(thing(key), exchange.about))
        ]
        return {key: dict(held[key]) if key in held else {"exists": False} for key in keys[-_SHOWN:]}

    def relevant(self, name: str, arguments: dict[str, Any], limit: int) -> list[PastCall]:
        """The last `limit` calls about the same things or records, oldest first."""
        about, given = set(entity_words(name)), tuple(mentions(arguments, entity_words(name)))
        found = [call for call in self.calls if self._concerns(call, about, given)]
        return found[-limit:] if limit else []

    @staticmethod
    def _concerns(call: PastCall, about: set[str], given: Sequence[str]) -> bool:
        kind = entity_words(call[0])
        spoken = [*mentions(call[1], kind), *mentions(json_or_text(call[2]), kind)]
        return bool(about & set(kind)) or any(same(one, other) for one in spoken for other in given)

    # What an answer may not say.

    def _existence(self, exchange: ToolCallFacts) -> Iterator[str]:
        target = exchange.target
        if (
            exchange.created
            and self._beliefs.held.get(exchange.created)
            and alike(thing(exchange.created), exchange.about)
        ):
            yield f"{exchange.created} exists already; a new record needs a new identifier"
        if target is None:
            return
        if target in self._beliefs.missing and not exchange.restores and not exchange.created:
            if not exchange.in_vain:
                yield f"{target} does not exist (any more): the call must fail or find nothing"
        elif exchange.head and exchange.nothing and self._beliefs.held.get(target):
            yield f"{target} exists: {_shown(self._beliefs.held[target])}"

    def _left_out(self, exchange: ToolCallFacts) -> Iterator[str]:
        """Records that are known to be what a plain listing asks for, and are not on it."""
        rows = _rows(exchange.value)
        if action(exchange.name) not in ("list", "search") or exchange.paged or rows is None or len(rows) >= _FULL_LIST:
            return
        listed = {record.key for record in exchange.spoken_of}
        for key, facts in self._beliefs.held.items():
            if thing(key) != exchange.about or key in listed or key in self._beliefs.unsure or not facts:
                continue
            if all(name in facts and _equal(facts[name], value) for name, value in exchange.arguments.items()):
                yield f"{key} is missing from the list: {_shown(facts)}"

    def _stale(self, exchange: ToolCallFacts, position: int) -> bool:
        later = [change for change in self._changes if change.position > position]
        spoken = list(dict.fromkeys([*exchange.given, *mentions(exchange.value, exchange.about)]))
        return any(
            not spoken
            or not exchange.about
            or change.kinds & set(exchange.about)
            or any(same(one, other) for one in spoken for other in change.reached)
            for change in later
        )


def _equal(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _rows(value: Any) -> list[Any] | None:
    """The rows of a list, also of one that stands in an object beside its length; None for other answers."""
    lists = [part for part in value.values() if isinstance(part, list)] if isinstance(value, dict) else [value]
    return lists[0] if len(lists) == 1 and isinstance(lists[0], list) else None


def _conflicts(beliefs: KnownRecords, exchange: ToolCallFacts) -> Iterator[str]:
    """Also between two parts of one answer: `beliefs` grow as it goes."""
    for record in exchange.spoken_of:
        if record.key in beliefs.missing and record.key not in (exchange.target, exchange.created):
            yield f"{record.key} does not exist (any more)"
        held = beliefs.held.setdefault(record.key, {})
        for name, value in record.fields.items():
            bare = bare_name(name, thing(record.key))
            known = next((other for other in held if bare_name(other, thing(record.key)) == bare), name)
            if not _equal(held.setdefault(known, value), value):
                yield f"{record.key} has {known} {_shown(held[known])}, not {_shown(value)}"


def _not_asked_for(exchange: ToolCallFacts) -> Iterator[str]:
    """Records other than the one asked for, or that belong to another one than asked for."""
    rows = exchange.value if isinstance(exchange.value, list) else [exchange.value]
    for record in (record for row in rows for record in records(row, exchange.about)[:1]):
        for name, asked in exchange.arguments.items():
            there = record.fields.get(name)
            if identifies(name) and scalar(asked) and there is not None and not _equal(there, asked):
                yield f"{record.key} has {name} {_shown(there)}, but {_shown(asked)} was asked for"
        target = exchange.target if exchange.head else None
        if target and field_of(record.key) == field_of(target) and record.key != target:
            yield f"{record.key} was returned, but {target} was asked for"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
