"""Stage 1: merges proposed tools into one set. Rules, not a model, decide which of them are worth keeping."""

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
"""Actions whose verbs are all synonyms; booking and ordering both create something, but not the same thing."""
_FILLER_WORDS = {"detail", "info", "information", "data", "record", "entry", "all", "the", "a", "an", "one"}
_STOP_WORDS = _FILLER_WORDS | {"of", "for", "to", "by", "its", "and", "or", "with", "given", "this", "that"}
_CLOCK_SUBJECTS = {"time", "date", "datetime", "today", "now", "today date", "server time", "system time"}
_CLOCK_SUBJECTS |= {f"current {unit}" for unit in ("time", "date", "datetime", "day", "timestamp")}
_CLOCK_PARAMETERS = {"timezone", "time_zone", "tz", "format", "location", "city", "country"}
_CONSTANT_SUBJECTS = {"help", "ping", "pong", "echo", "hello", "greeting", "about", "noop", "test", "status", "version"}
_CONSTANT_SUBJECTS |= {
    "health",
    "health check",
    "api version",
    "server status",
    "system status",
    "api status",
    "service status",
}
_MIN_OVERLAP = 0.8
_REFUSALS = ("merged_duplicates", "conflicts", "invalid", "trivial", "beyond_max")


class Merged(Frozen):
    """One set of tools with unique names. `refused` says why each other tool was left out, except mere repetitions.

    `counts` has merged_duplicates, conflicts, invalid, trivial, beyond_max and kept, which add up to all tools
    considered.
    """

    tools: tuple[ToolSpec, ...]
    refused: tuple[str, ...]
    counts: dict[str, int]


def merge(given: Sequence[ToolSpec], proposed: Sequence[dict[str, Any]], max_tools: int | None = None) -> Merged:
    """The `given` tools, then the valid and new ones of the OpenAI function specs `proposed`, in that order.

    The first tool of a name is kept; the given ones are not judged otherwise. Above `max_tools`, given tools go before
    proposed ones, and tools that share identifiers with others before isolated ones.
    """
    merger = _ToolMerger()
    for tool in given:
        merger.add(tool)
    for proposal in proposed:
        try:
            merger.consider(read_tool(proposal))
        except ValueError as error:
            merger.refuse("invalid", repr(proposed_name(proposal)), str(error))
    tools = tuple(merger.tools.values())
    if max_tools is not None and len(tools) > max_tools:
        tools = _most_linked(tools, {tool.name for tool in given}, max_tools)
        for tool in merger.tools.values():
            if tool not in tools:
                merger.refuse("beyond_max", tool.name, f"beyond the {max_tools} tools wanted")
    return Merged(tools=tools, refused=tuple(merger.refused), counts=merger.counts | {"kept": len(tools)})


@dataclass
class _ToolMerger:
    """The set so far, by name and by parameters."""

    tools: dict[str, ToolSpec] = field(default_factory=dict)
    by_signature: dict[str, list[ToolSpec]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_REFUSALS, 0))

    def consider(self, tool: ToolSpec) -> None:
        """Add a proposed tool unless it is trivial or does the same as another one."""
        if tool.name in self.tools:
            self.add(tool)
        elif reason := trivial(tool):
            self.refuse("trivial", tool.name, reason)
        elif other := next(
            (t for t in self.by_signature.get(_signature(tool.parameters), ()) if _same_purpose(t, tool)), None
        ):
            if _core(other.name) == _core(tool.name):
                self.refuse("trivial", tool.name, f"a mere rename of {other.name}")
            else:
                self.counts["merged_duplicates"] += 1
        else:
            self.add(tool)

    def add(self, tool: ToolSpec) -> None:
        """Add a tool unless its name is taken."""
        signature = _signature(tool.parameters)
        namesake = self.tools.get(tool.name)
        if namesake is None:
            self.tools[tool.name] = tool
            self.by_signature.setdefault(signature, []).append(tool)
        elif signature == _signature(namesake.parameters):
            self.counts["merged_duplicates"] += 1
        else:
            self.refuse("conflicts", tool.name, "another tool of that name has other parameters")

    def refuse(self, kind: str, label: str, reason: str) -> None:
        self.counts[kind] += 1
        self.refused.append(f"{label}: {reason}")


def read_tool(proposal: dict[str, Any]) -> ToolSpec:
    """One proposed function spec, flat or as {"type": "function", "function": {…}}, without `returns`, which is
    predicted later. Raises ValueError that says what is wrong with it."""
    function = proposal.get("function")
    function = function if isinstance(function, dict) else proposal
    name, description = proposed_name(proposal), function.get("description")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError("letters, digits and underscores are expected as its name")
    tool = parse_tool_spec({**function, "name": name})
    # A reader of given tools puts words of the name for a missing description; for a proposed one that is a fault.
    return tool.model_copy(
        update={"description": description.strip() if isinstance(description, str) else "", "returns": None}
    )


def trivial(tool: ToolSpec) -> str | None:
    """Why this tool is of no use, or None: the paper keeps no tools that contribute nothing to a task."""
    if not _SNAKE.fullmatch(tool.name):
        return "the name is not snake_case"
    if not tool.description:
        return "no description"
    verb, words = _parts(tool.name)
    about = {" ".join(words), " ".join((verb, *words))}  # get_help, or help alone
    required = set(tool.parameters.get("required", ()))
    if about & _CLOCK_SUBJECTS and required <= _CLOCK_PARAMETERS:
        return "it only tells the time"
    if about & _CONSTANT_SUBJECTS and not required:
        return "it only returns a constant"
    if not tool.parameters.get("properties") and verb not in ("list", "search") and "all" not in tool.name.split("_"):
        return "no parameters, and it neither lists nor searches"
    return None


def proposed_name(proposal: dict[str, Any]) -> Any:
    """The name without the markup of some chat formats: "functions.get_order<|channel|>" is get_order."""
    function = proposal.get("function")
    name = (function if isinstance(function, dict) else proposal).get("name")
    return name.partition("<|")[0].strip().removeprefix("functions.") if isinstance(name, str) else name


def _signature(schema: Any) -> str:
    """Names and types of the parameters, without their descriptions."""
    return json.dumps(_types(schema), sort_keys=True)


def _types(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return []
    if isinstance(properties := schema.get("properties"), dict):
        return {name: _types(part) for name, part in properties.items()}
    types = sorted(field_types(schema))
    return [*types, _types(schema["items"])] if "items" in schema else types


def _parts(name: str) -> tuple[str, list[str]]:
    """The verb of a tool's name, the same for all its synonyms, and the other words in the singular."""
    verb, *words = name.lower().split("_")
    return _meaning(verb) or verb, [singular(word) for word in words]


def _meaning(verb: str) -> str | None:
    """One word for all verbs of the same meaning; None for other words."""
    return meant if (meant := action(verb)) in _SYNONYMOUS else None


def _core(name: str) -> tuple[str, ...]:
    verb, words = _parts(name)
    return (verb, *(word for word in words if word not in _FILLER_WORDS))


def _same_purpose(one: ToolSpec, other: ToolSpec) -> bool:
    """Whether two tools with the same parameters do the same.

    They need the same verb and either the same name in other words, the same description, or nearly the same
    description that in both contains the words by which the names differ.
    """
    (verb, *ours), (its_verb, *theirs) = _core(one.name), _core(other.name)
    if verb != its_verb:
        return False
    words, other_words = _content_words(one.description), _content_words(other.description)
    shared, differing = words & other_words, set(ours) ^ set(theirs)
    nearly = len(shared) >= _MIN_OVERLAP * len(words | other_words) and differing <= shared
    return ours == theirs or (len(words) > 1 and words == other_words) or nearly


def _content_words(description: str) -> set[str]:
    words = set(re.findall(r"[^\W_]+", description.lower())) - _STOP_WORDS
    return {_meaning(word) or singular(word) for word in words} - _FILLER_WORDS


def _identifiers(tool: ToolSpec) -> set[str]:
    """The identifiers in a tool's arguments and, judged by its name, in its result: order_id for search_orders."""
    noun = "_".join(entity_words(tool.name))
    names = {singular(name.lower()) for name in tool.parameters.get("properties", {})}
    taken = {name for name in names if identifies(name)}
    return taken | ({f"{noun}_id"} if noun else set())


def _most_linked(tools: Sequence[ToolSpec], given: set[str], limit: int) -> tuple[ToolSpec, ...]:
    """`limit` of the tools, in their order.

    Given tools come first, then those that share an identifier with a chosen one, then those with the most shared ones.
    """
    identifiers = [_identifiers(tool) for tool in tools]
    links = [sum(not own.isdisjoint(other) for other in identifiers) for own in identifiers]
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
