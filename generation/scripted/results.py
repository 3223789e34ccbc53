"""Reads tool results of any form, for the stand-in's agent and judge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core.messages import AssistantMessage, ContractError, Message, ToolCall, ToolMessage
from generation.specs.json_values import json_or_text

Status = Literal["done", "empty", "error"]

_ERROR_WORDS = ("error", "exception", "failed", "traceback")


@dataclass(frozen=True)
class PastToolCall:
    """A call answered by message `position`. `result` is parsed if it is JSON; `arguments` is None if they are not a
    JSON object."""

    position: int
    name: str
    arguments: dict[str, Any] | None
    result: Any
    status: Status


def past_tool_calls(messages: Sequence[Message]) -> list[PastToolCall]:
    """Every answered call, in the order of the answers."""
    open_calls: dict[str, ToolCall] = {}
    past_calls: list[PastToolCall] = []
    for position, message in enumerate(messages):
        if isinstance(message, AssistantMessage):
            open_calls |= {call.id: call for call in message.tool_calls or ()}
        elif isinstance(message, ToolMessage) and message.tool_call_id in open_calls:
            past_calls.append(_past_call(position, open_calls[message.tool_call_id], message.content))
    return past_calls


def _past_call(position: int, call: ToolCall, content: str) -> PastToolCall:
    result = json_or_text(content)
    try:
        return PastToolCall(position, call.name, call.parsed(), result, status(result))
    except ContractError:
        return PastToolCall(position, call.name, None, result, "error")


def status(result: Any) -> Status:
    """Whether the call found or did something ("done"), nothing ("empty": no rows) or was refused ("error")."""
    if isinstance(result, dict) and (result.get("error") or result.get("success") is False):
        return "error"
    if isinstance(result, str) and result.lower().startswith(_ERROR_WORDS):
        return "error"
    unchanged = isinstance(result, dict) and result.get("rows_affected") == 0
    return "empty" if unchanged or result in ([], None, "") else "done"


def dig(result: Any, field: str) -> Any:
    """The first value of a field in a result, the outermost first; None if it is missing."""
    level = [result]
    while level:
        for part in level:
            if isinstance(part, dict) and part.get(field) not in (None, [], {}):
                return part[field]
        level = [inner for part in level for inner in _parts(part)]
    return None


def rows(result: Any, tell: Sequence[str]) -> list[Any]:
    """The rows of a result that have the fields to tell: the result itself, its members, or those of a list inside
    it."""
    if isinstance(result, list):
        return result
    if isinstance(result, dict) and tell and not any(name in result for name in tell):
        for part in result.values():
            if isinstance(part, list) and part and dig(part[0], tell[0]) is not None:
                return part
    return [result]


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value
