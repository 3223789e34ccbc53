"""The arguments of a tool call that the words of a clause state."""

from __future__ import annotations

import re
from typing import Any

from generation.specs.resolved_schema import alternatives

_NO_VALUES = frozenset(
    ("the", "a", "an", "your", "my", "this", "that", "both", "following", "required", "necessary", "its", "default")
)
"""Words next to a parameter's name that are no value of it: "the permission"."""


def stated_arguments(parameters: dict[str, Any], text: str, message: str, known: str) -> list[dict[str, Any] | None]:
    """The arguments of each use: one per combination of the values that the clause `text` of a message gives; [None] if
    one is missing. Texts with a `pattern` may stand anywhere in the message, or in what is `known`."""
    combined: list[dict[str, Any]] = [{}]
    properties = parameters.get("properties") or {}
    for name in parameters.get("required") or list(properties):
        schema = properties[name]
        values = _values(name, schema, parameters, text)
        if pattern := schema.get("pattern"):
            values = _matching(pattern, message, text) or _matching(pattern, known, known.casefold())
        if not values:
            return [None]
        combined = [arguments | {name: value} for arguments in combined for value in values]
    return [*combined]


def _values(name: str, schema: dict[str, Any], parameters: dict[str, Any], text: str) -> list[Any]:
    options = alternatives(schema, parameters)
    choices = [value for option in options for value in option.get("enum", ()) if isinstance(value, str)]
    spoken = _spoken(text)
    if choices:
        named = [choice for choice in choices if f" {_spoken(choice)} " in f" {spoken} "]
        return [choice for choice in named if not any(choice != o and _spoken(choice) in _spoken(o) for o in named)]
    if schema.get("type") == "integer":
        return [int(number) for number in re.findall(r"\b\d+\b", text)[:1]]
    if schema.get("type") == "boolean":
        return [state == "on" for state in re.findall(r"\b(on|off)\b", text)[:1]]
    if schema.get("type") != "string":
        return []
    noun = name.removesuffix("_name").split("_")[-1]
    before = re.search(rf"\b(\w+(?:(?:,? and |, | & |/)\w+)*) {noun}s?\b", text)
    after = re.search(rf"\b{noun}s?:? (?:is |for |named |called |to use )?(\w+)", text)
    for match in (before, after):
        words = re.split(r",? and |, | & |/", match[1]) if match else []
        if values := [word for word in words if word not in _NO_VALUES]:
            return values
    return []


def _matching(pattern: str, message: str, clause: str) -> list[str]:
    """The words of a message that match, those of the clause if it has any; several leave it open which is meant."""
    matching = list(dict.fromkeys(word for word in re.findall(r"[\w-]+", message) if re.search(pattern, word)))
    candidates = [word for word in matching if word.casefold() in clause] or matching
    return candidates if len(candidates) == 1 else []


def _spoken(value: str) -> str:
    """As it would be said: "4g_5g_preferred" and "4G/5G (preferred)" are equal."""
    return " ".join(re.findall(r"[a-z0-9]+", value.casefold()))
