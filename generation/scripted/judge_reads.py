"""How the stand-in's judge reads values in a transcript: which are equal, which are mentioned, which are ungrounded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from core.messages import AssistantMessage, Message, SystemMessage, ToolMessage
from generation.specs.json_values import json_or_text


def same(one: Any, other: Any) -> bool:
    """Whether two argument values mean the same: 5 equals 5.0 and "5"; case and spacing do not matter."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return _key(str(one)) == _key(str(other))


_EDGES = "()[]{}<>.,;:!?'\"*`#$€£%"


def mentions(text: str, value: Any) -> bool:
    """Whether a text mentions a value: a number by its value, anything else as full words. Booleans need no mention."""
    if isinstance(value, bool):
        return True
    key = _key(str(value))
    if isinstance(key, float):
        return any(_key(word.strip(_EDGES)) == key for word in text.split())
    return re.search(rf"(?<!\w){re.escape(key)}(?!\w)", " ".join(text.casefold().split())) is not None


def _key(text: str) -> float | str:
    """Text that is a number ("1,200.50") as a float, other text in lower case with single spaces."""
    plain = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text.strip())
    return float(plain) if re.fullmatch(r"-?\d+(\.\d+)?", plain) else " ".join(text.casefold().split())


_LIST_MARK = re.compile(r"^\s*\d+[.)]\s", re.M)
_MIXED = re.compile(r"\b(?=[\w-]*\d)(?=[\w-]*[^\W\d_])\w[\w-]*\b|[\w.+-]+@[\w-]+\.[\w.]*\w")
_UNIT = re.compile(r"\d+[a-z]{1,3}")


def ungrounded(transcript: Sequence[Message], known: str = "") -> list[str]:
    """Numbers, identifiers and addresses in the assistant's answers that occur in no earlier user message, argument or
    result, nor in the text `known`. The markers of a numbered list and the length of a returned list need no source."""
    numbers = set(_numbers(known))
    known = known.casefold()
    invented: dict[str, None] = {}
    for message in transcript:
        if isinstance(message, AssistantMessage):
            text = _LIST_MARK.sub("", message.content)
            invented |= dict.fromkeys(_text(n) for n in _numbers(text) if n not in numbers)
            invented |= dict.fromkeys(
                token
                for token in _MIXED.findall(text)
                if token.casefold() not in known and not _UNIT.fullmatch(token.casefold())
            )
            source = " ".join(call.function.arguments for call in message.tool_calls or ())
        elif not isinstance(message, SystemMessage):
            source = message.content
            numbers |= _lengths(message.content) if isinstance(message, ToolMessage) else set()
        else:
            continue
        numbers.update(_numbers(source))
        known += f" {source.casefold()}"
    return list(invented)


def _numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", re.sub(r"(?<=\d),(?=\d{3}\b)", "", text))]


def _text(number: float) -> str:
    return f"{number:g}"


def _lengths(content: str) -> set[float]:
    value = json_or_text(content)
    return {float(len(value))} if isinstance(value, list) else set()
