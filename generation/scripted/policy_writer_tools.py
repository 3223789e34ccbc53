"""The stand-in's rules for tools that it knows by name and schema only: nothing looks at the state."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from core.messages import ToolSpec
from generation.llm.contexts import PolicyContext
from generation.scripted.policy_rules import RuleJson, contact, rule
from generation.specs.naming import action, changes, entity_words, identifies
from generation.specs.spelling import words

_LIMITS = {"quantity": 10, "count": 10, "guests": 8, "people": 8, "seats": 8, "days": 30, "amount": 1000, "price": 1000}


def tool_forms(context: PolicyContext, rng: Random) -> list[list[RuleJson]]:
    """The proposals of each form, the best first."""
    changing = [tool for tool in context.tools if changes(tool.name)]
    return [
        list(_confirm(changing)),
        list(_limits(changing)),
        list(_identity(changing, context.tools)),
        list(_staff(changing, rng)),
    ]


def _parameters(tool: ToolSpec) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = tool.parameters.get("properties", {})
    return found


def _does(tool: ToolSpec) -> str:
    return words(tool.name)


def _confirm(changing: list[ToolSpec]) -> Iterator[RuleJson]:
    ending = [tool for tool in changing if action(tool.name) in ("delete", "cancel")] or changing[:1]
    if ending:
        text = f"Before you {' or '.join(map(_does, ending))}, say what will be done and wait for the user's yes."
        yield rule("confirm", f"ask_before_{ending[0].name}"[:60], text, [tool.name for tool in ending])


def _limits(changing: list[ToolSpec]) -> Iterator[RuleJson]:
    for tool in changing:
        for name, schema in _parameters(tool).items():
            limit = next((limit for word, limit in _LIMITS.items() if word in name.casefold()), None)
            if limit is None or schema.get("type") not in ("integer", "number"):
                continue
            text = f"When you {_does(tool)}, the {words(name)} is at most {limit}."
            require = [{"field": name, "op": "at_most", "value": limit}]
            yield rule("arguments", f"limit_of_{tool.name}"[:60], text, [tool.name], require=require)


def _identity(changing: list[ToolSpec], tools: tuple[ToolSpec, ...]) -> Iterator[RuleJson]:
    """A search for a person whose identifier a change takes."""
    for tool in changing:
        for name in _parameters(tool):
            who = identifies(name)
            searches = [t for t in tools if who and action(t.name) == "search" and entity_words(t.name) == who]
            if who and who[-1] in ("customer", "user", "member", "guest", "patient", "client") and searches:
                text = f"Find the {' '.join(who)} before you {_does(tool)}."
                first = [search.name for search in searches]
                yield rule(
                    "identity",
                    f"known_{'_'.join(who)}_for_{tool.name}"[:60],
                    text,
                    [tool.name],
                    first=first,
                    subject=name,
                )


def _staff(changing: list[ToolSpec], rng: Random) -> Iterator[RuleJson]:
    for tool in changing:
        for name, schema in _parameters(tool).items():
            closed = [value for value in schema.get("enum", ()) if isinstance(value, str)]
            if len(closed) >= 3:
                desk = contact(rng)
                text = f"You never {_does(tool)} with the {words(name)} {closed[-1]}: tell the user to turn to {desk}."
                when = [{"field": name, "op": "is", "value": closed[-1]}]
                yield rule("staff", f"{tool.name}_by_staff"[:60], text, [tool.name], contact=desk, when=when)
