"""What is held of records as simulated tools speak of them and change them.

A record is an object with an identifier of its own (`generation.specs.naming`); its facts are its scalar fields. Names and
values are all there is to go by, so wherever a change may have reached further than it says, facts are forgotten rather than
wrongly held:

- an update sets what its arguments state of its target; the target keeps its other texts, but loses figures, flags, states and
  dates, and every field whose name has to do with an argument's;
- a creation adds a record with its arguments and its answer; the records it names lose figures, flags, states and dates;
- a deletion makes its target missing, and what refers to it is forgotten;
- any other change (cancel, pay, assign) leaves the records that it names only their names and identifiers;
- records that refer to a changed one, or that it refers to, lose figures, flags, states, dates and fields named like an argument;
- a change that names no known record may have been to any record of its kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from generation.environments.simulated.records import EntityRecord, mentions, same, thing
from generation.environments.simulated.tool_call import ToolCallFacts
from generation.specs.naming import Words, alike, identifies
from generation.specs.spelling import snake

Fields = dict[str, Any]

_NAMES = {"name", "title", "label"}
_CHANGEABLE = {"status", "state", "stage", "phase", "date", "time"}
_TIME = re.compile(r"\d{4}-\d\d|\d{1,2}:\d\d|\d{1,2}[/.]\d{1,2}[/.]\d{2,4}")


class KnownRecords:
    """`held` maps a record to its fields. `missing` are the records that were deleted, or looked for in vain; `unsure` those that
    a change may have taken out of the lists they were on."""

    def __init__(self) -> None:
        self.held: dict[str, Fields] = {}
        self.missing: dict[str, None] = {}
        self.unsure: dict[str, None] = {}

    def copy(self) -> KnownRecords:
        copy = KnownRecords()
        copy.held = {key: dict(fields) for key, fields in self.held.items()}
        copy.missing, copy.unsure = dict(self.missing), dict(self.unsure)
        return copy

    def believe(self, told: Iterable[EntityRecord]) -> None:
        """Hold what was said of records; the later word counts."""
        for record in told:
            self.missing.pop(record.key, None)
            self.unsure.pop(record.key, None)
            self.held.setdefault(record.key, {}).update(record.fields)

    def lose(self, key: str) -> None:
        """A record does not exist (any more)."""
        self.held.pop(key, None)
        self.missing[key] = None

    def change(self, exchange: ToolCallFacts) -> tuple[str, ...]:
        """What a change does to the facts, before its answer is taken in. Returns the records it may have reached."""
        named = [key for key in self.held if self._is_named(key, exchange)]
        around = self._around([*exchange.given, *named], exchange)
        reached = [*exchange.given, *named, *around]
        if not reached and not exchange.creates:
            named = [key for key in self.held if not exchange.about or thing(key)[-1] in exchange.about]
            reached = named
        words = () if exchange.creates else _argument_words(exchange)
        stated_only = exchange.updates or exchange.creates
        for key in [*named, *around]:
            self._forget(key, words, texts=key in named and not stated_only)
            if not stated_only:
                self.unsure[key] = None
        self._settle(exchange, named)
        return tuple(dict.fromkeys([*reached, *mentions(exchange.value, exchange.about)]))

    def _settle(self, exchange: ToolCallFacts, named: Sequence[str]) -> None:
        """What the change says of itself: a record made, its target updated, gone or back."""
        target = exchange.changed
        if exchange.deletes and target:
            for key in [key for key, fields in self.held.items() if any(same(r, target) for r in _references(fields))]:
                del self.held[key]  # what belonged to it may be gone as well
            for key in dict.fromkeys([target, *named]):
                self.lose(key)
        elif exchange.created:
            self.believe([EntityRecord(exchange.created, exchange.stated)])
        elif exchange.creates:
            self.missing = {key: None for key in self.missing if not alike(thing(key), exchange.about)}
        elif target:
            self.missing.pop(target, None)
            self.believe([EntityRecord(target, exchange.stated)] if exchange.updates else [])

    def _is_named(self, key: str, exchange: ToolCallFacts) -> bool:
        """Whether the arguments name a record, be it by another of its identifiers: order 7 by its order_number."""
        others = (f"{snake(n)}={v}" for n, v in self.held[key].items() if alike(identifies(n) or (), thing(key)))
        return any(same(key, given) for given in exchange.given) or any(other in exchange.given for other in others)

    def _around(self, named: Sequence[str], exchange: ToolCallFacts) -> list[str]:
        """The records that the named ones refer to and, unless one is only added to them, those that refer to the named ones."""
        referred = [ref for key in named for ref in _references(self.held.get(key, {}))]
        referred += mentions(exchange.value, exchange.about)
        return [
            key
            for key, fields in self.held.items()
            if key not in named
            and (
                any(same(key, ref) for ref in referred)
                or (not exchange.creates and any(same(ref, name) for ref in _references(fields) for name in named))
            )
        ]

    def _forget(self, key: str, words: Sequence[Words], texts: bool) -> None:
        """Drop what may have changed: figures, flags, states, dates, what the arguments speak of; with `texts` all but names."""
        others = [each for each in words if not alike(each, thing(key))]
        self.held[key] = {
            name: value
            for name, value in self.held[key].items()
            if not _related(name, others)
            and (identifies(name) is not None or not _changeable(name, value))
            and (identifies(name) is not None or not texts or _NAMES & set(snake(name).split("_")))
        }


def _references(fields: Fields) -> Iterator[str]:
    for name, value in fields.items():
        if identifies(name):
            yield f"{snake(name)}={value}"


def _changeable(name: str, value: Any) -> bool:
    if isinstance(value, int | float):
        return True
    return bool(_CHANGEABLE & set(snake(name).split("_"))) or bool(_TIME.match(str(value)))


def _argument_words(exchange: ToolCallFacts) -> list[Words]:
    """What the arguments are called, and what they may call a field: {"field": "city", "value": "Rome"}."""
    chosen = (str(value) for name, value in exchange.stated.items() if snake(name) in {"field", "column", "attribute"})
    return [identifies(name) or tuple(snake(name).split("_")) for name in [*exchange.stated, *chosen]]


def _related(name: str, others: Iterable[Words]) -> bool:
    """Whether a field has to do with an argument: the same last word, or one within the other (room_id and room_name)."""
    mine = tuple(snake(name).split("_"))
    return any(other[-1] == mine[-1] or set(other) <= set(mine) or set(mine) <= set(other) for other in others)
