"""Whether a task is grounded: its goal says what the plan needs, so that a user can ask for it and an agent solve it.

A value of the plan is grounded if the goal states it, if an earlier call returns it (a placeholder), or if the user
has learnt it in the conversation. Not everything has to be said:

- booleans, 0 and 1, which are said as yes, no, none, one or by a singular ("the cheapest room"),
- a parameter's default, or the only value that it allows,
- one of a parameter's few values, which may be said in a related word: "cancel it" for cancelled.

Internal ids are numbers (or UUIDs) for a parameter called id or …_id. A user may know them: booking 7, order 1042. But
where a tool finds the same record by something that people would rather say, a name, a title, an e-mail address, it is
looked up by that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from core.dialogue import PlannedCall, Task
from core.messages import ToolSpec
from core.placeholders import placeholder
from core.typography import fold
from generation.specs.json_values import leaves
from generation.specs.naming import Words, alike, changes, entity_words, identifies, is_identifier
from generation.specs.resolved_schema import Schema, field_names, resolved
from generation.specs.spelling import snake
from generation.tasks.mentions import states

_NATURAL_KEYS = {"name", "title", "email", "phone", "username", "login", "label", "subject"}
_QUALIFIERS = {"first", "last", "full", "display", "user", "login", "short"}
_INTERNAL = {"id", "uuid", "key"}
_NUMBER_OR_UUID = re.compile(r"\d+|[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.IGNORECASE)
_STEM = 4
"""Letters in which a word of the goal and one of an enum's value agree."""


class Literal(NamedTuple):
    """A value in a plan's arguments that the goal has to state: `name` is its field, `text` the value as text, `tool`
    the tool called with it, `few` the schema of a parameter with few values."""

    call: int
    tool: str
    name: str
    text: str
    few: bool


def needed_literals(plan: Sequence[PlannedCall], tools: Mapping[str, ToolSpec]) -> Iterator[Literal]:
    """The values of a plan that a goal has to state."""
    for index, call in enumerate(plan):
        parameters = tools[call.tool].parameters if call.tool in tools else {}
        for name, argument in call.arguments.items():
            schema = resolved((parameters.get("properties") or {}).get(name), parameters)
            if parsed := placeholder(argument):
                if parsed.function == "where" and parsed.by:
                    yield Literal(index, call.tool, parsed.by, parsed.value, few=False)
                continue
            if _is_understood(argument, schema):
                continue
            for field, leaf in leaves(argument, name):
                if leaf is None or isinstance(leaf, bool) or (leaf in (0, 1) and not is_identifier(field)):
                    continue
                if text := (leaf if isinstance(leaf, str) else repr(leaf)).strip():
                    yield Literal(index, call.tool, field, text, bool(schema.get("enum")))


def _is_understood(argument: Any, schema: Schema) -> bool:
    return argument == schema.get("default", ...) or [argument] in (schema.get("enum"), [schema.get("const", ...)])


def is_given(literal: Literal, text: str) -> bool:
    """Whether `text` states the literal, or a related word if its parameter has few values."""
    return states(text, literal.text) or (literal.few and _is_related(literal.text, text))


def _is_related(value: str, text: str) -> bool:
    said = {word[:_STEM] for word in re.findall(r"[^\W\d_]+", fold(text).casefold())}
    stems = [word[:_STEM] for word in re.findall(r"[^\W\d_]{3,}", fold(value).casefold())]
    return bool(stems) and all(stem in said for stem in stems)


def finder(tool: str, name: str, tools: Mapping[str, ToolSpec]) -> ToolSpec | None:
    """The tool that finds the record which the parameter `name` of `tool` identifies, by something that people say;
    None if there is none, or if the parameter takes no internal id.

    >>> finder("update_member", "member_id", tools).name  # update_member(member_id), search_members(member_name)
    'search_members'
    """
    about = identifies(name)
    if about is None or snake(name).split("_")[-1] not in _INTERNAL:
        return None
    about = about or entity_words(tool)
    found = (other for other in tools.values() if other.name != tool and _finds(other, about))
    return next(found, None)


def _finds(tool: ToolSpec, about: Words) -> bool:
    required = tool.parameters.get("required") or list(tool.parameters.get("properties") or {})
    if changes(tool.name) or any(map(is_identifier, required)):
        return False
    if not any(_is_natural_key(name, about) for name in required):
        return False
    entity = entity_words(tool.name)
    returned = [name.rpartition(".")[2] for name in field_names(tool.returns or {})]
    return alike(about, entity) and any(identifies(name) in ((), about) for name in returned)


def _is_natural_key(name: str, about: Words) -> bool:
    """Whether people name a record by this parameter: a tour's title, not the name of its guide."""
    *stem, last = snake(name).split("_")
    return last in _NATURAL_KEYS and all(word in about or word in _QUALIFIERS for word in stem)


def grounding_problems(task: Task, tools: Mapping[str, ToolSpec], known: str) -> Iterator[str]:
    """What is missing in a task's goal and rubric. `known` is what the user has read and said before the task."""
    goal = _plain(task.goal)
    for tool in tools:
        if "_" in tool and tool in task.goal:
            yield f"the goal names the tool {tool}; a user does not know tools"
    if apart := [subgoal for subgoal in task.subgoals if _plain(subgoal) not in goal or not _plain(subgoal)]:
        yield f"these subgoals do not stand in the goal word for word: {', '.join(map(repr, apart))}"
    yield from _literal_problems(task, tools, known)
    if not task.rubric.criteria:
        yield "there are no criteria: say what a correct conversation shows"
    for criterion in task.rubric.criteria:
        if not criterion.strip() or (criterion.isascii() and len(criterion.split()) < 2):
            yield f"the criterion {criterion!r} says nothing that a conversation could show"


def _literal_problems(task: Task, tools: Mapping[str, ToolSpec], known: str) -> Iterator[str]:
    unsaid = []
    for literal in needed_literals(task.plan, tools):
        if is_given(literal, known):
            continue
        number = _NUMBER_OR_UUID.fullmatch(literal.text)
        if number and (tool := finder(literal.tool, literal.name, tools)):
            yield (
                f"call {literal.call} ({literal.tool}): a user does not know {literal.name} {literal.text}; look it up "
                f'with {tool.name} and write "${{i.field}}" for it'
            )
        elif not is_given(literal, task.goal):
            unsaid.append(f"{literal.text!r} ({literal.name} of call {literal.call})")
    if unsaid:
        yield f"the goal does not say {', '.join(unsaid)}: put that into the goal, or look it up with an earlier call"


def _plain(text: str) -> str:
    return " ".join(fold(text).casefold().split()).strip(" .,;:!?")
