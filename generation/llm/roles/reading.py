"""What the stand-in's judge understands of a transcript: the calls that were made, equal values, mentioned and ungrounded ones."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core.messages import AssistantMessage, ContractError, Message, SystemMessage, ToolCall, ToolMessage


@dataclass(frozen=True)
class Made:
    """A call that was answered at message `position`: what it returned, parsed where it is JSON, and whether it did anything.
    "nothing" stands for no rows found or changed."""

    position: int
    name: str
    arguments: dict[str, Any]
    value: Any
    status: Literal["done", "nothing", "error"]


def calls_made(transcript: Sequence[Message]) -> list[Made]:
    """Every answered call, in the order of the answers."""
    open_calls: dict[str, ToolCall] = {}
    made: list[Made] = []
    for position, message in enumerate(transcript):
        if isinstance(message, AssistantMessage):
            open_calls |= {call.id: call for call in message.tool_calls or ()}
        elif isinstance(message, ToolMessage) and message.tool_call_id in open_calls:
            made.append(_made(position, open_calls[message.tool_call_id], message.content))
    return made


def _made(position: int, call: ToolCall, content: str) -> Made:
    try:
        arguments = call.parsed()
    except ContractError:
        return Made(position, call.name, {}, content, "error")
    try:
        value = json.loads(content)
    except ValueError:
        return Made(position, call.name, arguments, content, "error" if content.lower().startswith("error") else "done")
    if isinstance(value, dict) and "error" in value:
        return Made(position, call.name, arguments, value, "error")
    nothing = value == [] or (isinstance(value, dict) and value.get("rows_affected") == 0)
    return Made(position, call.name, arguments, value, "nothing" if nothing else "done")


def same(one: Any, other: Any) -> bool:
    """Whether two argument values mean the same: 5 is 5.0 and "5", letters' case and spacing do not matter."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return _key(str(one)) == _key(str(other))


def fields(value: Any, name: str) -> Iterator[Any]:
    """Every scalar that stands under `name` anywhere in a result, in order."""
    if isinstance(value, list):
        for item in value:
            yield from fields(item, name)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == name and not isinstance(item, dict | list):
                yield item
            else:
                yield from fields(item, name)


_EDGES = "()[]{}<>.,;:!?'\"*`#$€£%"


def mentions(text: str, value: Any) -> bool:
    """Whether a text says a value: a number by its value, anything else as whole words; a truth value need not be said."""
    if isinstance(value, bool):
        return True
    wanted = _key(str(value))
    if isinstance(wanted, float):
        return any(_key(word.strip(_EDGES)) == wanted for word in text.split())
    return re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", " ".join(text.casefold().split())) is not None


def _key(text: str) -> float | str:
    """A number for what is written as one, "1,200.50" included; else the words in lower case."""
    plain = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text.strip())
    return float(plain) if re.fullmatch(r"-?\d+(\.\d+)?", plain) else " ".join(text.casefold().split())


_LIST_MARK = re.compile(r"^\s*\d+[.)]\s", re.M)
_MIXED = re.compile(r"\b(?=[\w-]*\d)(?=[\w-]*[^\W\d_])\w[\w-]*\b|[\w.+-]+@[\w-]+\.[\w.]*\w")
_UNIT = re.compile(r"\d+[a-z]{1,3}")


def ungrounded(transcript: Sequence[Message]) -> list[str]:
    """Numbers, identifiers and addresses in the assistant's words that nothing before them contains: no user's words, no
    arguments, no result. Marks of a numbered list and the length of a returned list have their source in the answer itself."""
    numbers: set[float] = set()
    known = ""
    invented: dict[str, None] = {}
    for message in transcript:
        if isinstance(message, AssistantMessage):
            words = _LIST_MARK.sub("", message.content)
            invented |= dict.fromkeys(_text(n) for n in _numbers(words) if n not in numbers)
            invented |= dict.fromkeys(
                token
                for token in _MIXED.findall(words)
                if token.casefold() not in known and not _UNIT.fullmatch(token.casefold())
            )
            heard = " ".join(call.function.arguments for call in message.tool_calls or ())
        elif not isinstance(message, SystemMessage):
            heard = message.content
            numbers |= _lengths(message.content) if isinstance(message, ToolMessage) else set()
        else:
            continue
        numbers.update(_numbers(heard))
        known += f" {heard.casefold()}"
    return list(invented)


def _numbers(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"\d+(?:\.\d+)?", re.sub(r"(?<=\d),(?=\d{3}\b)", "", text))]


def _text(number: float) -> str:
    return f"{number:g}"


def _lengths(content: str) -> set[float]:
    try:
        value = json.loads(content)
    except ValueError:
        return set()
    return {float(len(value))} if isinstance(value, list) else set()
