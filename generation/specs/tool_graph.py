"""Which tools lead to which: one returns an identifier that the other takes.

search_members(member_name) -> member_id      update_member_phone(member_id, phone)
`look_ups["update_member_phone"]` is (("search_members",),), and the two are neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from core.messages import ToolSpec
from generation.specs.naming import Words, action, alike, changes, entity_words, identifies
from generation.specs.resolved_schema import field_names
from generation.specs.spelling import singular

_OF_MANY = ("rank", "compute")
"""Actions that say something of many records, and so seldom find the one that is meant."""


@dataclass(frozen=True)
class ToolGraph:
    """By tool name: `consumers` take what it returns, `neighbours` are these and the tools whose results it takes.
    `look_ups` has, for each identifier that it requires, the tools that find one, the most direct ones
    first; identifiers that no tool finds are left out. `subjects` says what it is about, in words."""

    consumers: Mapping[str, frozenset[str]]
    neighbours: Mapping[str, frozenset[str]]
    look_ups: Mapping[str, tuple[tuple[str, ...], ...]]
    subjects: Mapping[str, Words]

    def among(self, names: Sequence[str]) -> ToolGraph:
        """The part of the graph with these tools alone."""
        kept = frozenset(names)
        return ToolGraph(
            consumers={name: self.consumers[name] & kept for name in names},
            neighbours={name: self.neighbours[name] & kept for name in names},
            look_ups={
                name: tuple(
                    found for tools in self.look_ups[name] if (found := tuple(tool for tool in tools if tool in kept))
                )
                for name in names
            },
            subjects={name: self.subjects[name] for name in names},
        )


def tool_graph(tools: Sequence[ToolSpec]) -> ToolGraph:
    """The graph of a toolset, read from the names of parameters and result fields."""
    taken = {tool.name: tuple(_taken(tool)) for tool in tools}
    required = {tool.name: tuple(_taken(tool, required=True)) for tool in tools}
    returned = {tool.name: tuple(_returned(tool)) for tool in tools}

    def finds(producer: str, about: Words) -> bool:
        """Whether it returns such an identifier without taking it."""
        return any(alike(about, words) for words in returned[producer]) and not any(
            alike(about, words) for words in required[producer]
        )

    names = [tool.name for tool in tools]
    consumers = {
        name: frozenset(other for other in names if other != name and any(finds(name, about) for about in taken[other]))
        for name in names
    }
    entities = {words for of_tool in (*taken.values(), *returned.values()) for words in of_tool}
    subjects = {name: _subject(entity_words(name), entities) for name in names}

    def found(name: str, about: Words) -> tuple[str, ...]:
        """The look-ups of an identifier, the most direct ones first."""
        finding = [other for other in names if other != name and not changes(other) and finds(other, about)]
        return tuple(
            sorted(finding, key=lambda t: (action(t) in _OF_MANY, len(required[t]), not alike(about, subjects[t])))
        )

    return ToolGraph(
        consumers=consumers,
        neighbours={name: consumers[name] | {other for other in names if name in consumers[other]} for name in names},
        look_ups={
            name: tuple(known for about in dict.fromkeys(required[name]) if (known := found(name, about)))
            for name in names
        },
        subjects=subjects,
    )


def _taken(tool: ToolSpec, required: bool = False) -> Iterator[Words]:
    """The entities whose identifiers a tool takes."""
    declared = list(tool.parameters.get("properties") or {})
    for name in tool.parameters.get("required", declared) if required else declared:
        words = identifies(name)
        words = identifies(singular(name)) if words is None else words
        if words is not None and (about := words or entity_words(tool.name)):
            yield about


def _returned(tool: ToolSpec) -> Iterator[Words]:
    """The entities whose identifiers a tool returns; of a tool that does not say what it returns, its own."""
    own = entity_words(tool.name)
    if tool.returns is None:
        if own:
            yield own
        return
    for path in field_names(tool.returns):
        words = identifies(path.rpartition(".")[2])
        if words is not None and (about := words or own):
            yield about


def _subject(words: Words, entities: set[Words]) -> Words:
    """The longest entity in a tool's name, of several the first: (doctor) in update_doctor_phone."""
    for length in range(len(words), 0, -1):
        for start in range(len(words) - length + 1):
            if words[start : start + length] in entities:
                return words[start : start + length]
    return words
