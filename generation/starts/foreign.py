"""Conversations that others wrote, in OpenAI's format and its usual variants, as messages that satisfy our contract."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from core.messages import (
    AssistantMessage,
    FunctionCall,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolSpec,
    UserMessage,
    check_transcript,
)
from generation.specs.foreign import tool_name, tool_spec

_ROLES = {"human": "user", "gpt": "assistant", "model": "assistant", "function": "tool", "developer": "system"}
_JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
_PARTS = {"text", "image_url"}


def conversation(raw: Mapping[str, Any]) -> tuple[Message, ...]:
    """The messages of a line that holds them under "messages", or "traj" as τ-bench does; none where it holds neither.

    A closing user message and calls without an answer at the end are left out: something else is to follow there; so is an
    assistant's greeting before the user's first words. Raises ValueError where the rest is no lawful conversation.
    """
    found = raw.get("messages", raw.get("traj")) or []
    if isinstance(found, str):
        found = json.loads(found)
    if not isinstance(found, list) or not all(isinstance(message, dict) for message in found):
        raise ValueError('"messages" is no list of messages')
    messages: list[Message] = []
    waiting: list[tuple[str, str]] = []
    for message in found:
        _add(messages, message, waiting)
    while messages and not _may_end(messages[-1]):
        messages.pop()
    return tuple(messages)


def _may_end(message: Message) -> bool:
    """Whether a user may speak next."""
    return isinstance(message, SystemMessage) or (isinstance(message, AssistantMessage) and not message.tool_calls)


def tools_of(raw: Any, messages: Sequence[Message]) -> tuple[ToolSpec, ...]:
    """The declared tools, and for those that are only called what the calls show of them. Raises ValueError for tools that
    cannot be understood, and where the conversation breaks the contract with them."""
    declared = json.loads(raw) if isinstance(raw, str) else raw or []
    if not isinstance(declared, list):
        raise ValueError('"tools" is no list of function specs')
    specs = {spec.name: spec for spec in map(tool_spec, declared)}
    observed: dict[str, list[dict[str, Any]]] = {}
    for message in messages:
        for call in message.tool_calls or () if isinstance(message, AssistantMessage) else ():
            if call.name not in specs:
                observed.setdefault(call.name, []).append(call.parsed())
    tools = (*specs.values(), *(_inferred(name, arguments) for name, arguments in observed.items()))
    if len(messages) > 1 or not all(isinstance(message, SystemMessage) for message in messages):
        check_transcript(messages, tools)
    return tools


def _inferred(name: str, observed: Sequence[dict[str, Any]]) -> ToolSpec:
    """A spec that all observed calls fit."""
    types: dict[str, set[str]] = {}
    for arguments in observed:
        for key, value in arguments.items():
            types.setdefault(key, set()).add("null" if value is None else _JSON_TYPES[type(value)])
    properties = {key: {"type": sorted(found) if len(found) > 1 else next(iter(found))} for key, found in types.items()}
    required = [key for key in properties if all(key in arguments for arguments in observed)]
    words = name.replace("_", " ")
    return ToolSpec(
        name=name,
        description=f"{words[0].upper()}{words[1:]}.",
        parameters={"type": "object", "properties": properties, "required": required},
    )


def _add(messages: list[Message], raw: dict[str, Any], waiting: list[tuple[str, str]]) -> None:
    """Append one message; neighbours that the contract wants as one are joined. `waiting` are the calls without an answer:
    (the id given there, ours)."""
    given = str(raw.get("role", raw.get("from", "")))
    role, content = _ROLES.get(given, given), _text(raw.get("content", raw.get("value")))
    last = messages[-1] if messages else None
    if role == "tool":
        if not waiting:
            raise ValueError(f"message {len(messages)}: a tool answers, but nothing was called")
        theirs = str(raw.get("tool_call_id"))
        pair = next((pair for pair in waiting if pair[0] == theirs), waiting[0])
        waiting.remove(pair)
        messages.append(ToolMessage(tool_call_id=pair[1], content=content))
    elif role == "assistant":
        if isinstance(last, AssistantMessage) and not last.tool_calls:
            content = f"{messages.pop().content}\n\n{content}".strip()
        calls = _calls(raw, len(messages), waiting)
        if not calls and all(isinstance(message, SystemMessage) for message in messages):
            return  # a greeting
        reasoning = raw.get("reasoning_content") or raw.get("reasoning")
        messages.append(
            AssistantMessage(content=content, reasoning_content=_text(reasoning) or None, tool_calls=calls or None)
        )
    elif role == "user":
        if isinstance(last, UserMessage):
            content = f"{messages.pop().content}\n\n{content}".strip()
        messages.append(UserMessage(content=content))
    elif role == "system" and not messages:
        messages.append(SystemMessage(content=content))
    else:
        raise ValueError(f"message {len(messages)}: the role {given!r} is not expected here")


def _calls(raw: dict[str, Any], position: int, waiting: list[tuple[str, str]]) -> tuple[ToolCall, ...]:
    legacy = raw.get("function_call")
    found = raw.get("tool_calls") or ([{"function": legacy}] if legacy else [])
    if not isinstance(found, list):
        raise ValueError(f"message {position}: the tool calls are no list")
    calls = []
    waiting.clear()
    for number, call in enumerate(found):
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict):
            raise ValueError(f"message {position}: call {number} names no function")
        arguments = function.get("arguments") or "{}"
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        name = tool_name(function.get("name"))
        ours = ToolCall(id=f"given_{position}_{number}", function=FunctionCall(name=name, arguments=text))
        ours.parsed()
        calls.append(ours)
        waiting.append((str(call.get("id")), ours.id))
    return tuple(calls)


def _text(value: Any) -> str:
    """Content as a string: also where it is null, a list of parts, or a value of JSON."""
    if isinstance(value, list) and all(isinstance(part, dict) and part.keys() & _PARTS for part in value):
        return "\n".join(str(part["text"]) for part in value if "text" in part)
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)
