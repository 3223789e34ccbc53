"""What tools returned, whatever its form, as the stand-in's agent and its judge read it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core.messages import AssistantMessage, ContractError, Message, ToolCall, ToolMessage
from generation.specs.json_values import json_or_text

Status = Literal["done", "nothing", "error"]

_BROKEN = ("error", "exception", "failed", "traceback")


@dataclass(frozen=True)
class PastToolCall:
    """A call that was answered at message `position`: what it returned, parsed where it is JSON, and whether it did anything.
    `arguments` is None where they are no JSON object."""

    position: int
    name: str
    arguments: dict[str, Any] | None
    value: Any
    status: Status


def calls_made(messages: Sequence[Message]) -> list[PastToolCall]:
    """Every answered call, in the order of the answers."""
    open_calls: dict[str, ToolCall] = {}
    made: list[PastToolCall] = []
    for position, message in enumerate(messages):
        if isinstance(message, AssistantMessage):
            open_calls |= {call.id: call for call in message.tool_calls or ()}
        elif isinstance(message, ToolMessage) and message.tool_call_id in open_calls:
            made.append(_made(position, open_calls[message.tool_call_id], message.content))
    return made


def _made(position: int, call: ToolCall, content: str) -> PastToolCall:
    value = json_or_text(content)
    try:
        return PastToolCall(position, call.name, call.parsed(), value, status(value))
    except ContractError:
        return PastToolCall(position, call.name, None, value, "error")


def status(value: Any) -> Status:
    """Whether a result says that something was found or done: "nothing" stands for no rows, "error" for a refusal."""
    if isinstance(value, dict) and (value.get("error") or value.get("success") is False):
        return "error"
    if isinstance(value, str) and value.lower().startswith(_BROKEN):
        return "error"
    unchanged = isinstance(value, dict) and value.get("rows_affected") == 0
    return "nothing" if unchanged or value in ([], None, "") else "done"


def dig(value: Any, field: str) -> Any:
    """The first value of a field in a result, the outermost first; None where there is none."""
    level = [value]
    while level:
        for part in level:
            if isinstance(part, dict) and part.get(field) not in (None, [], {}):
                return part[field]
        level = [inner for part in level for inner in _parts(part)]
    return None


def rows(value: Any, tell: Sequence[str]) -> list[Any]:
    """The rows of a result of which these fields are to be told: itself, its members, or those of a list within it."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict) and tell and not any(name in value for name in tell):
        for part in value.values():
            if isinstance(part, list) and part and dig(part[0], tell[0]) is not None:
                return part
    return [value]


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value
