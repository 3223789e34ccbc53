"""Detects what an agent says to a tool but writes to the user: calls in its words, and results as tools return them.

Models do both: they fence a call, list several, call tools that do not exist, or invent a call's result at once. Prose
with braces or with a piece of JSON is fine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from core.messages import ToolSpec
from generation.llm.parsing.json_text import has_words, split_json

_NAMES = ("name", "tool", "tool_name", "function", "function_name", "action")
_ARGUMENTS = ("arguments", "parameters", "args", "params", "input", "tool_input", "action_input")
_IDENTIFIER = re.compile(r"[\w.:/-]+")
_NAMED_CALL = re.compile(
    r"""["']name["']\s*:\s*(?:["'][\w.:/-]+["']\s*,\s*["']parameters|["'][^"'\n]+["']\s*,\s*["']arguments)["']\s*:"""
)
_ACTION = re.compile(r"^\W*Action Input\W*:", re.M)


def text_call(text: str, tools: Sequence[ToolSpec]) -> str | None:
    """What is wrong with an answer to the user, as the predicate of a complaint: it contains a call, or is a result.
    None if neither is so.

    A call is JSON with a name and "arguments" or, if the name is an identifier, a synonym of them, anywhere in the text
    and of any tool, declared or not; the name of a declared tool before its arguments in brackets; or an "Action
    Input". A result is an answer that consists of JSON only.

    >>> text_call('One moment: [{"name": "get_book", "arguments": {"book_id": 1}}]', ())
    'contains a tool call written as text'
    >>> text_call('{"rows_affected": 1}', ())
    'is JSON instead of words'
    >>> text_call('It is saved as {"theme": "dark"}.', ())
    """
    declared = {tool.name for tool in tools}
    values, around = split_json(text)
    if (
        any(_is_call(part, declared) for value in values for part in _objects(value))
        or _NAMED_CALL.search(text)
        or _ACTION.search(text)
        or any(name in text and _applied(name).search(text) for name in declared)
    ):
        return "contains a tool call written as text"
    return "is JSON instead of words" if values and not has_words(around) else None


def _is_call(value: dict[str, Any], declared: set[str]) -> bool:
    names = [value[key] for key in _NAMES if isinstance(value.get(key), str)]
    given = {key for key in _ARGUMENTS if isinstance(value.get(key), dict | list)}
    return (
        any(name in declared for name in names)
        or (len(value) == 1 and any(isinstance(value[name], dict | list) for name in declared & value.keys()))
        or (bool(names) and "arguments" in given)
        or (bool(given) and any(_IDENTIFIER.fullmatch(name) for name in names))
    )


def _applied(name: str) -> re.Pattern[str]:
    """The name of a tool with arguments in brackets: get_book(1), search(title="x"). A plain word may also precede a
    bracket in prose, as in "book(s)", so it needs something that only a call has."""
    arguments = r"" if re.search(r"_|[a-z][A-Z]", name) else r"""\s*(?:\)|[{"']|\w+\s*=)"""
    return re.compile(rf"(?<!\w){re.escape(name)}\({arguments}")


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """The objects in `value`, at any depth."""
    parts = [value]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            yield part
            parts.extend(part.values())
        elif isinstance(part, list):
            parts.extend(part)
