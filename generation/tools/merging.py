"""Stage 1: proposed tools become one set. Rules, not a model, say which of them are worth having."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from core.messages import Frozen, ToolSpec
from generation.specs.entities import field_types
from generation.specs.formats import parse_tool_spec
from generation.specs.naming import Action, action, entity_words, identifies
from generation.specs.spelling import singular

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_SYNONYMOUS: tuple[Action, ...] = ("search", "get", "create", "update", "delete")
"""Deeds of which all verbs say the same; to book and to order are both to make something, but not the same."""
_EMPTY_WORDS = {"detail", "info", "information", "data", "record", "entry", "all", "the", "a", "an", "one"}
_STOP_WORDS = _EMPTY_WORDS | {"of", "for", "to", "by", "its", "and", "or", "with", "given", "this", "that"}
_CLOCK = {"time", "date", "datetime", "today", "now", "today date", "server time", "system time"}
_CLOCK |= {f"current {unit}" for unit in ("time", "date", "datetime", "day", "timestamp")}
_OF_A_CLOCK = {"timezone", "time_zone", "tz", "format", "location", "city", "country"}
_CONSTANT = {"help", "ping", "pong", "echo", "hello", "greeting", "about", "noop", "test", "status", "version"}
_CONSTANT |= {"health", "health check", "api version", "server status", "system status", "api status", "service status"}
_NEARLY = 0.8
_REFUSALS = ("merged_duplicates", "conflicts", "invalid", "trivial", "beyond_max")


class Merged(Frozen):
    """One set of tools, each name once. `refused` says why each of the others did not come in, unless it was a mere repetition.

    `counts` has merged_duplicates, conflicts, invalid, trivial, beyond_max and kept, which add up to all that was there.
    """

    tools: tuple[ToolSpec, ...]
    refused: tuple[str, ...]
    counts: dict[str, int]


def merge(given: Sequence[ToolSpec], proposed: Sequence[dict[str, Any]], max_tools: int | None = None) -> Merged:
    """The `given` tools, then those of the OpenAI function specs `proposed` that hold and say something new, in that order.

    Of tools with one name the first is kept. The given ones are not judged otherwise. Above `max_tools`, given ones stay before
    proposed ones, and those that share identifiers with others before lonely ones.
    """
    merging = _Merging()
    for tool in given:
        merging.add(tool)
    for proposal in proposed:
        try:
            merging.judge(read_tool(proposal))
        except ValueError as error:
            merging.refuse("invalid", repr(_name(proposal)), str(error))
    tools = tuple(merging.kept.values())
    if max_tools is not None and len(tools) > max_tools:
        tools = _most_linked(tools, {tool.name for tool in given}, max_tools)
        for tool in merging.kept.values():
            if tool not in tools:
                merging.refuse("beyond_max", tool.name, f"beyond the {max_tools} tools wanted")
    return Merged(tools=tools, refused=tuple(merging.refused), counts=merging.counts | {"kept": len(tools)})


@dataclass
class _Merging:
    """The set in the making: what is in it by name, and by what it takes."""

    kept: dict[str, ToolSpec] = field(default_factory=dict)
    taking: dict[str, list[ToolSpec]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_REFUSALS, 0))

    def judge(self, tool: ToolSpec) -> None:
        """Add a proposed tool, unless it is trivial or does what another one does."""
        if tool.name in self.kept:
            self.add(tool)
        elif reason := trivial(tool):
            self.refuse("trivial", tool.name, reason)
        elif other := next((t for t in self.taking.get(_signature(tool.parameters), ()) if _alike(t, tool)), None):
            if _core(other.name) == _core(tool.name):
                self.refuse("trivial", tool.name, f"a mere rename of {other.name}")
            else:
                self.counts["merged_duplicates"] += 1
        else:
            self.add(tool)

    def add(self, tool: ToolSpec) -> None:
        """Add a tool, unless there is one of that name."""
        signature = _signature(tool.parameters)
        namesake = self.kept.get(tool.name)
        if namesake is None:
            self.kept[tool.name] = tool
            self.taking.setdefault(signature, []).append(tool)
        elif signature == _signature(namesake.parameters):
            self.counts["merged_duplicates"] += 1
        else:
            self.refuse("conflicts", tool.name, "another tool of that name has other parameters")

    def refuse(self, kind: str, label: str, reason: str) -> None:
        self.counts[kind] += 1
        self.refused.append(f"{label}: {reason}")


def read_tool(proposal: dict[str, Any]) -> ToolSpec:
    """One proposed function spec, flat or as {"type": "function", "function": {…}}; what it returns is predicted later. Raises
    ValueError that says what is wrong with it."""
    function = proposal.get("function")
    function = function if isinstance(function, dict) else proposal
    name, description = _name(proposal), function.get("description")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError("letters, digits and underscores are expected as its name")
    tool = parse_tool_spec({**function, "name": name})
    # A reader of given tools puts words of the name for a missing description; for a proposed one that is a fault.
    return tool.model_copy(
        update={"description": description.strip() if isinstance(description, str) else "", "returns": None}
    )


def trivial(tool: ToolSpec) -> str | None:
    """Why nobody needs this tool, or None: the paper wants none that do nothing for a task."""
    if not _SNAKE.fullmatch(tool.name):
        return "the name is not snake_case"
    if not tool.description:
        return "no description"
    verb, words = _parts(tool.name)
    about = {" ".join(words), " ".join((verb, *words))}  # get_help, or help alone
    required = set(tool.parameters.get("required", ()))
    if about & _CLOCK and required <= _OF_A_CLOCK:
        return "it only tells the time"
    if about & _CONSTANT and not required:
        return "it only returns a constant"
    if not tool.parameters.get("properties") and verb not in ("list", "search") and "all" not in tool.name.split("_"):
        return "no parameters, and it neither lists nor searches"
    return None


def _name(proposal: dict[str, Any]) -> Any:
    """The name as given, but for the markup of some chat formats: "functions.get_order<|channel|>"."""
    function = proposal.get("function")
    name = (function if isinstance(function, dict) else proposal).get("name")
    return name.partition("<|")[0].strip().removeprefix("functions.") if isinstance(name, str) else name


def _signature(schema: Any) -> str:
    """Names and types of parameters, whatever is written about them."""
    return json.dumps(_types(schema), sort_keys=True)


def _types(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return []
    if isinstance(properties := schema.get("properties"), dict):
        return {name: _types(part) for name, part in properties.items()}
    types = sorted(field_types(schema))
    return [*types, _types(schema["items"])] if "items" in schema else types


def _parts(name: str) -> tuple[str, list[str]]:
    """The verb of a tool's name, one for all its synonyms, and the other words in the singular."""
    verb, *words = name.lower().split("_")
    return _meaning(verb) or verb, [singular(word) for word in words]


def _meaning(verb: str) -> str | None:
    """One word for all verbs that say the same; None for other words."""
    return meant if (meant := action(verb)) in _SYNONYMOUS else None


def _core(name: str) -> tuple[str, ...]:
    verb, words = _parts(name)
    return (verb, *(word for word in words if word not in _EMPTY_WORDS))


def _alike(one: ToolSpec, other: ToolSpec) -> bool:
    """Whether two tools with the same parameters do the same: the same verb, and either the same name in other words, or the
    same description, or nearly the same one that in both has the words by which the names differ."""
    (verb, *ours), (its_verb, *theirs) = _core(one.name), _core(other.name)
    if verb != its_verb:
        return False
    said, repeated = _content(one.description), _content(other.description)
    shared, differing = said & repeated, set(ours) ^ set(theirs)
    nearly = len(shared) >= _NEARLY * len(said | repeated) and differing <= shared
    return ours == theirs or (len(said) > 1 and said == repeated) or nearly


def _content(description: str) -> set[str]:
    words = set(re.findall(r"[^\W_]+", description.lower())) - _STOP_WORDS
    return {_meaning(word) or singular(word) for word in words} - _EMPTY_WORDS


def _identifiers(tool: ToolSpec) -> set[str]:
    """What names records in its arguments or, to judge by its name, in its result: order_id for search_orders_by_date."""
    noun = "_".join(entity_words(tool.name))
    names = {singular(name.lower()) for name in tool.parameters.get("properties", {})}
    taken = {name for name in names if identifies(name)}
    return taken | ({f"{noun}_id"} if noun else set())


def _most_linked(tools: Sequence[ToolSpec], given: set[str], limit: int) -> tuple[ToolSpec, ...]:
    """`limit` of the tools in their order: given ones first, then what shares an identifier with what is chosen already,
    then what shares one with most of the others."""
    identifiers = [_identifiers(tool) for tool in tools]
    links = [sum(not mine.isdisjoint(theirs) for theirs in identifiers) for mine in identifiers]
    chosen: set[int] = set()
    reached: set[str] = set()
    while len(chosen) < limit:
        best = max(
            (i for i in range(len(tools)) if i not in chosen),
            key=lambda i: (tools[i].name in given, not identifiers[i].isdisjoint(reached), links[i], -i),
        )
        chosen.add(best)
        reached |= identifiers[best]
    return tuple(tools[i] for i in sorted(chosen))
