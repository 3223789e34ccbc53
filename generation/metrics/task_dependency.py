"""Dependency between the tasks of a dialogue, by value flow: arguments that come from an earlier task's results.

A value counts as flowing if it first appears in the transcript (messages, arguments and results) in a tool result of an
earlier task. Tasks of two unrelated dialogues of a domain, joined, show how much of that is chance.
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
    """A scalar argument. A number that is an `identifier` flows only from identifiers, not from an equal price."""

    scalar: str | int | float
    identifier: bool


_SAMPLE_SIZE = 4  # dialogues sampled per domain, to join others with
_MAX_DOMAINS = 256  # domains sampled; beyond that, the least recently seen one is dropped
_SMALL_NUMBER = 10
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,17})(\.\d+)?")


class Flow(Frozen):
    """Pairs of a task and the tasks before it: their mean dependency score, and the share of scores above zero."""

    pairs: int
    mean: float | None = None
    positive: float | None = None


class Dependency(Frozen):
    """Flow into the second and later tasks of dialogues: all of them, those meant to follow from an earlier task
    (Task.follows_from), and the others. `random` is the flow into the same tasks after another dialogue of the
    domain."""

    all: Flow
    follow_ups: Flow
    independent: Flow
    random: Flow


def dependency_scores(dialogue: Dialogue) -> tuple[float, ...]:
    """For each played task but the first: the share, 0 to 1, of the distinct values in its calls' arguments that first
    appeared in a tool result before the task started. A task whose calls take no distinctive value scores 0."""
    history = _History(dialogue.messages)
    tools = {tool.name: tool for tool in dialogue.tools}
    return tuple(
        _score(_values(dialogue.part(number), tools), history, dialogue.task_starts[number])
        for number in range(1, len(dialogue.task_starts))
    )


class DependencyTally:
    """Accumulates the scores of a stream of dialogues. Memory is bounded: a reservoir sample of each domain's dialogues
    is kept, and each task of a new dialogue is joined to one of them at random. Equal streams give equal metrics."""

    def __init__(self) -> None:
        self._sums: dict[str, _ScoreSum] = {name: _ScoreSum() for name in Dependency.model_fields}
        self._sample: OrderedDict[str, list[Dialogue]] = OrderedDict()
        self._seen: Counter[str] = Counter()
        self._rng = Random("dependency")

    def add(self, dialogue: Dialogue) -> None:
        """Add one dialogue with a valid transcript."""
        for task, score in zip(dialogue.tasks[1:], dependency_scores(dialogue), strict=False):
            self._sums["all"].add(score)
            self._sums["follow_ups" if task.follows_from else "independent"].add(score)
        others = self._sample.get(dialogue.domain, [])
        tools = {tool.name: tool for tool in dialogue.tools}
        for number in range(1, len(dialogue.task_starts)):
            if long_enough := [other for other in others if len(other.task_starts) >= number]:
                self._sums["random"].add(_score_after_other(self._rng.choice(long_enough), dialogue, number, tools))
        self._add_to_sample(dialogue)

    def result(self) -> Dependency:
        """The metrics so far."""
        return Dependency(**{name: total.flow() for name, total in self._sums.items()})

    def _add_to_sample(self, dialogue: Dialogue) -> None:
        if not dialogue.task_starts:
            return
        sample = self._sample.setdefault(dialogue.domain, [])
        self._sample.move_to_end(dialogue.domain)
        self._seen[dialogue.domain] += 1
        if len(sample) < _SAMPLE_SIZE:
            sample.append(dialogue)
        elif (place := self._rng.randrange(self._seen[dialogue.domain])) < _SAMPLE_SIZE:
            sample[place] = dialogue
        if len(self._sample) > _MAX_DOMAINS:
            domain, _ = self._sample.popitem(last=False)
            del self._seen[domain]


@dataclass
class _ScoreSum:
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


def _score_after_other(other: Dialogue, dialogue: Dialogue, number: int, tools: dict[str, ToolSpec]) -> float:
    """The score of task `number` if it followed the first `number` tasks of another dialogue."""
    end = [*other.task_starts, len(other.messages)][number]
    part = dialogue.part(number)
    return _score(_values(part, tools), _History((*other.messages[:end], *part)), end)


def _score(values: Sequence[Value], history: _History, start: int) -> float:
    return sum(history.first_returned(value, start) for value in values) / len(values) if values else 0.0


@dataclass
class _MessageValues:
    """The values in a message: its text, its numbers, the numbers usable as identifiers (in a tool result, those in
    identifier fields; in other messages, all), and whether it is a tool result."""

    text: str
    numbers: frozenset[int | float]
    identifiers: frozenset[int | float]
    is_result: bool


@dataclass
class _History:
    """Finds the message in which a value first appears."""

    messages: Sequence[Message]
    _by_message: list[_MessageValues] = field(default_factory=list)
    _first_positions: dict[Value, int] = field(default_factory=dict)

    def first_returned(self, value: Value, start: int) -> bool:
        """Whether `value` first appears in a tool result before message `start`."""
        if value not in self._first_positions:
            positions = (i for i in range(len(self.messages)) if _contains(self._values_at(i), value))
            self._first_positions[value] = next(positions, len(self.messages))
        position = self._first_positions[value]
        return position < start and self._values_at(position).is_result

    def _values_at(self, position: int) -> _MessageValues:
        while len(self._by_message) <= position:
            self._by_message.append(_message_values(self.messages[len(self._by_message)]))
        return self._by_message[position]


def _message_values(message: Message) -> _MessageValues:
    scalars: list[tuple[str, Any]] = []
    if isinstance(message, ToolMessage):
        scalars += leaves(json_or_text(message.content))
    else:
        scalars.append(("", message.content))
    if isinstance(message, AssistantMessage):
        for call in message.tool_calls or ():
            scalars += leaves(json_or_text(call.function.arguments))
    numbers = [(name, scalar) for name, scalar in scalars if _is_number(scalar)]
    is_result = isinstance(message, ToolMessage)
    return _MessageValues(
        text="\n".join(scalar for _, scalar in scalars if isinstance(scalar, str)).casefold(),
        numbers=frozenset(number for _, number in numbers),
        identifiers=frozenset(number for name, number in numbers if not is_result or is_identifier(name)),
        is_result=is_result,
    )


def _contains(message: _MessageValues, value: Value) -> bool:
    if isinstance(value.scalar, str):
        # The quick test first: most messages do not contain most values.
        return value.scalar.split()[0].casefold() in message.text and mentions_value(message.text, value.scalar)
    if value.scalar in (message.identifiers if value.identifier else message.numbers):
        return True
    return _last_digits(value.scalar) in message.text and mentions_value(message.text, repr(value.scalar))


def _last_digits(number: int | float) -> str:
    """Digits that are adjacent in any notation of the number: 200 for 1,200.50."""
    return str(abs(int(number)))[-3:]


def _values(messages: Sequence[Message], tools: dict[str, ToolSpec]) -> list[Value]:
    """The distinct, distinctive values in the arguments of these messages' calls."""
    values: dict[Value, None] = {}
    for message in messages:
        for call in (isinstance(message, AssistantMessage) and message.tool_calls) or ():
            schema = tools[call.name].parameters if call.name in tools else {}
            for name, value, closed in _arguments(json_or_text(call.function.arguments), "", schema):
                if not closed and _is_distinctive(name, scalar := _canonical(value)):
                    values[Value(scalar, _is_number(scalar) and is_identifier(name))] = None
    return list(values)


def _arguments(value: Any, name: str, schema: Any) -> Iterator[tuple[str, Any, bool]]:
    """(name, scalar, whether its schema lists the allowed values) for every scalar in an argument, at any depth."""
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
    """A number written as text becomes a number: one tool's "108" is another tool's 108. Leading zeros keep it text."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    return json.loads(text) if _NUMBER.fullmatch(text) else text


def _is_distinctive(name: str, value: Any) -> bool:
    """Whether a value is specific enough to trace. Booleans, null and one-letter texts are not, nor are small numbers,
    unless they identify a record, as keys of small tables do; 0 and 1 never are."""
    if isinstance(value, str):
        return len(value) > 1
    if not _is_number(value) or value in (0, 1, -1):
        return False
    return abs(value) >= _SMALL_NUMBER or is_identifier(name)


def _is_number(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float) and math.isfinite(value)
    )
