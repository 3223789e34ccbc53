"""How much the tasks of a dialogue depend on each other, by value flow: arguments that an earlier task's result brought up.

A value counts where it could not have come from anywhere else: its first appearance in the whole transcript, in words, in
arguments or in results, is a tool's result of an earlier task. Tasks of two unrelated dialogues of a domain put one after the
other show how much of that is chance.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from core.dialogue import Dialogue
from core.messages import AssistantMessage, Frozen, Message, ToolMessage, ToolSpec
from generation.specs.json_values import json_or_text, leaves
from generation.specs.naming import is_identifier
from generation.tasks.mentions import mentions_value


class Value(NamedTuple):
    """A scalar argument; a number that is an `identifier` only flows from identifiers, not from a price that equals it."""

    scalar: str | int | float
    identifier: bool


_KEPT = 4  # dialogues of a domain to join others with
_DOMAINS = 256  # domains of which dialogues are kept; beyond, the one that was least recently seen is dropped
_SMALL = 10
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,17})(\.\d+)?")


class Flow(Frozen):
    """Pairs of a task and what came before it: the mean dependency score, and the share of those above zero."""

    pairs: int
    mean: float | None
    positive: float | None


class Dependency(Frozen):
    """Flow into further tasks of a dialogue: of all, of those meant to follow from an earlier one (Task.follows_from) and of the
    others; `random` is the flow into the same tasks put after another dialogue of the same domain."""

    all: Flow
    follow_ups: Flow
    independent: Flow
    random: Flow


def dependency_scores(dialogue: Dialogue) -> tuple[float, ...]:
    """For each played task but the first: the share, 0 to 1, of the different values in its calls' arguments that first appeared
    in a tool's result before the task began. A task whose calls take no value that could tell scores 0."""
    history = _History(dialogue.messages)
    tools = {tool.name: tool for tool in dialogue.tools}
    return tuple(
        _share(_values(dialogue.part(number), tools), history, dialogue.task_starts[number])
        for number in range(1, len(dialogue.task_starts))
    )


class DependencyTally:
    """Adds up the scores of a stream of dialogues. Memory is bounded: of each domain a few dialogues are kept, a fair sample of
    those so far, from which each new one's tasks draw a stranger to follow. Same dialogues, same order, same figures."""

    def __init__(self) -> None:
        self._sums: dict[str, _Sum] = {name: _Sum() for name in Dependency.model_fields}
        self._kept: OrderedDict[str, list[Dialogue]] = OrderedDict()
        self._seen: Counter[str] = Counter()
        self._rng = Random("dependency")

    def add(self, dialogue: Dialogue) -> None:
        """Take in one dialogue, its transcript lawful."""
        for task, score in zip(dialogue.tasks[1:], dependency_scores(dialogue), strict=False):
            self._sums["all"].add(score)
            self._sums["follow_ups" if task.follows_from else "independent"].add(score)
        strangers = self._kept.get(dialogue.domain, [])
        tools = {tool.name: tool for tool in dialogue.tools}
        for number in range(1, len(dialogue.task_starts)):
            if fitting := [stranger for stranger in strangers if len(stranger.task_starts) >= number]:
                self._sums["random"].add(_joined(self._rng.choice(fitting), dialogue, number, tools))
        self._keep(dialogue)

    def result(self) -> Dependency:
        """The figures of everything added so far."""
        return Dependency(**{name: total.flow() for name, total in self._sums.items()})

    def _keep(self, dialogue: Dialogue) -> None:
        if not dialogue.task_starts:
            return
        kept = self._kept.setdefault(dialogue.domain, [])
        self._kept.move_to_end(dialogue.domain)
        self._seen[dialogue.domain] += 1
        if len(kept) < _KEPT:
            kept.append(dialogue)
        elif (place := self._rng.randrange(self._seen[dialogue.domain])) < _KEPT:
            kept[place] = dialogue
        if len(self._kept) > _DOMAINS:
            forgotten, _ = self._kept.popitem(last=False)
            del self._seen[forgotten]


@dataclass
class _Sum:
    pairs: int = 0
    total: float = 0.0
    positive: int = 0

    def add(self, score: float) -> None:
        self.pairs += 1
        self.total += score
        self.positive += score > 0

    def flow(self) -> Flow:
        if not self.pairs:
            return Flow(pairs=0, mean=None, positive=None)
        return Flow(
            pairs=self.pairs, mean=round(self.total / self.pairs, 4), positive=round(self.positive / self.pairs, 4)
        )


def _joined(stranger: Dialogue, dialogue: Dialogue, number: int, tools: dict[str, ToolSpec]) -> float:
    """The score of task `number` had it followed as many tasks of another dialogue."""
    end = [*stranger.task_starts, len(stranger.messages)][number]
    part = dialogue.part(number)
    return _share(_values(part, tools), _History((*stranger.messages[:end], *part)), end)


def _share(values: Sequence[Value], history: _History, start: int) -> float:
    return sum(history.brought(value, start) for value in values) / len(values) if values else 0.0


@dataclass
class _Heard:
    """What a message says: all its text, its numbers, those of them that a result gives as identifiers (of other messages, all),
    and whether a tool says it."""

    text: str
    numbers: frozenset[int | float]
    identifiers: frozenset[int | float]
    result: bool


@dataclass
class _History:
    """Where values first appear in a transcript."""

    messages: Sequence[Message]
    _heard: list[_Heard] = field(default_factory=list)
    _first: dict[Value, int] = field(default_factory=dict)

    def brought(self, value: Value, start: int) -> bool:
        """Whether the first message to hold `value` is a tool's result before message `start`."""
        if value not in self._first:
            positions = (place for place in range(len(self.messages)) if _holds(self._at(place), value))
            self._first[value] = next(positions, len(self.messages))
        place = self._first[value]
        return place < start and self._at(place).result

    def _at(self, place: int) -> _Heard:
        while len(self._heard) <= place:
            self._heard.append(_hear(self.messages[len(self._heard)]))
        return self._heard[place]


def _hear(message: Message) -> _Heard:
    found: list[tuple[str, Any]] = []
    if isinstance(message, ToolMessage):
        found += leaves(json_or_text(message.content))
    else:
        found.append(("", message.content))
    if isinstance(message, AssistantMessage):
        for call in message.tool_calls or ():
            found += leaves(json_or_text(call.function.arguments))
    numbers = [(name, leaf) for name, leaf in found if _is_number(leaf)]
    result = isinstance(message, ToolMessage)
    return _Heard(
        text="\n".join(leaf for _, leaf in found if isinstance(leaf, str)).casefold(),
        numbers=frozenset(leaf for _, leaf in numbers),
        identifiers=frozenset(leaf for name, leaf in numbers if not result or is_identifier(name)),
        result=result,
    )


def _holds(heard: _Heard, value: Value) -> bool:
    if isinstance(value.scalar, str):
        # The quick test first: most messages do not hold most values.
        return value.scalar.split()[0].casefold() in heard.text and mentions_value(heard.text, value.scalar)
    if value.scalar in (heard.identifiers if value.identifier else heard.numbers):
        return True
    return _last_digits(value.scalar) in heard.text and mentions_value(heard.text, repr(value.scalar))


def _last_digits(number: int | float) -> str:
    """Digits that stand together however the number is written: 1,200.50 has 200."""
    return str(abs(int(number)))[-3:]


def _values(messages: Sequence[Message], tools: dict[str, ToolSpec]) -> list[Value]:
    """The different values in the arguments of these messages' calls that can tell where they came from."""
    found: dict[Value, None] = {}
    for message in messages:
        for call in (isinstance(message, AssistantMessage) and message.tool_calls) or ():
            schema = tools[call.name].parameters if call.name in tools else {}
            for name, value, closed in _arguments(json_or_text(call.function.arguments), "", schema):
                if not closed and _telling(name, scalar := _canonical(value)):
                    found[Value(scalar, _is_number(scalar) and is_identifier(name))] = None
    return list(found)


def _arguments(value: Any, name: str, schema: Any) -> Iterator[tuple[str, Any, bool]]:
    """(name, scalar, whether its schema lists the allowed values) of every scalar in an argument, however deep."""
    schema = schema if isinstance(schema, dict) else {}
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        for key, part in value.items():
            yield from _arguments(part, key, properties.get(key))
    elif isinstance(value, list):
        for part in value:
            yield from _arguments(part, name, schema.get("items"))
    else:
        yield name, value, "enum" in schema or "const" in schema


def _canonical(value: Any) -> Any:
    """A number written as text is that number: one tool's "108" is another one's 108. Codes with leading zeros stay texts."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    return json.loads(text) if _NUMBER.fullmatch(text) else text


def _telling(name: str, value: Any) -> bool:
    """Truth values, nothing, one-letter texts and members of closed sets are everybody's; so are small numbers, unless they name
    a record, as keys of small tables do. 0 and 1 never tell."""
    if isinstance(value, str):
        return len(value) > 1
    if not _is_number(value) or value in (0, 1, -1):
        return False
    return abs(value) >= _SMALL or is_identifier(name)


def _is_number(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float) and math.isfinite(value)
    )
