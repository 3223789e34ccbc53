"""Conversations that others wrote, in OpenAI's format and its usual variants, ShareGPT's among them, as messages that satisfy our
contract."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.messages import (
    AssistantMessage,
    ContractError,
    FunctionCall,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolSpec,
    UserMessage,
    check_transcript,
)
from generation.specs.formats import tool_name, tool_spec

_ROLES = {
    "human": "user",
    "gpt": "assistant",
    "model": "assistant",
    "function": "tool",
    "observation": "tool",
    "developer": "system",
}
_JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
_PARTS = {"text", "image_url"}
_THINKING = ("<think>", "</think>")


@dataclass
class Reading:
    """A conversation as it is read. `mended` counts, by kind, what was not lawful and could be put right."""

    messages: list[Message] = field(default_factory=list)
    mended: Counter[str] = field(default_factory=Counter)
    waiting: list[tuple[str, str]] = field(default_factory=list)
    """The calls without an answer: (the id given there, ours)."""


def conversation(raw: Mapping[str, Any]) -> tuple[Message, ...]:
    """The messages that `read` finds."""
    return tuple(read(raw).messages)


def read(raw: Mapping[str, Any]) -> Reading:
    """The messages of a line that holds them under "messages", "conversations" as ShareGPT has it, or "traj" as τ-bench does, with
    "system" beside them; none where it holds none.

    A closing user message and calls without an answer at the end are left out: something else is to follow there; so is an
    assistant's greeting before the user's first words. Raises ValueError where the rest is no lawful conversation.
    """
    found: Any = next((raw[key] for key in ("messages", "conversations", "traj") if raw.get(key)), [])
    if isinstance(found, str):
        found = json.loads(found)
    if not isinstance(found, list) or not all(isinstance(message, dict) for message in found):
        raise ContractError('"messages" is no list of messages', "unreadable")
    reading = Reading()
    if isinstance(raw.get("system"), str):
        _add(reading, {"role": "system", "content": raw["system"]})
    for message in found:
        _add(reading, message)
    while reading.messages and not _may_end(reading.messages[-1]):
        last = reading.messages.pop()
        reading.mended["closing user message" if isinstance(last, UserMessage) else "open calls at the end"] += 1
    return reading


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


def _add(reading: Reading, raw: dict[str, Any]) -> None:
    """Append one message; neighbours that the contract wants as one are joined."""
    messages = reading.messages
    given = str(raw.get("role", raw.get("from", "")))
    role, content = _ROLES.get(given, given), _text(raw.get("content", raw.get("value")))
    if role == "tool":
        _add_result(reading, str(raw.get("tool_call_id")), content)
    elif role == "function_call":
        _add_answer(reading, {"tool_calls": _called(content, len(messages))}, "")
    elif role == "assistant":
        _add_answer(reading, raw, content)
    elif role == "user":
        if messages and isinstance(messages[-1], UserMessage):
            content = f"{messages.pop().content}\n\n{content}".strip()
            reading.mended["neighbours joined"] += 1
        messages.append(UserMessage(content=content))
    elif role == "system" and not messages:
        if content.strip():
            messages.append(SystemMessage(content=content))
    else:
        raise ContractError(f"message {len(messages)}: the role {given!r} is not expected here", "roles out of order")


def _add_result(reading: Reading, theirs: str, content: str) -> None:
    if not reading.waiting:
        where = f"message {len(reading.messages)}"
        raise ContractError(f"{where}: a tool answers, but nothing was called", "stray result")
    pair = next((pair for pair in reading.waiting if pair[0] == theirs), reading.waiting[0])
    reading.waiting.remove(pair)
    reading.messages.append(ToolMessage(tool_call_id=pair[1], content=content))


def _add_answer(reading: Reading, raw: Mapping[str, Any], content: str) -> None:
    messages, reasoning = reading.messages, _text(raw.get("reasoning_content") or raw.get("reasoning"))
    if not reasoning and content.lstrip().startswith(_THINKING[0]):
        reasoning, content = _split(content, len(messages))
    last = messages[-1] if messages else None
    if isinstance(last, AssistantMessage) and not last.tool_calls:
        messages.pop()
        content = f"{last.content}\n\n{content}".strip()
        reasoning = f"{last.reasoning_content or ''}\n\n{reasoning}".strip()
        reading.mended["neighbours joined"] += 1
    calls = _calls(raw, len(messages), reading.waiting)
    if not calls and all(isinstance(message, SystemMessage) for message in messages):
        reading.mended["greeting left out"] += 1
        return
    messages.append(AssistantMessage(content=content, reasoning_content=reasoning or None, tool_calls=calls or None))


def _split(text: str, position: int) -> tuple[str, str]:
    """Reasoning and content of an answer that begins with its reasoning between marks."""
    reasoning, end, content = text.lstrip().removeprefix(_THINKING[0]).partition(_THINKING[1])
    if not end:
        raise ContractError(f"message {position}: its reasoning does not end", "unclosed reasoning")
    return reasoning.strip(), content.strip()


def _called(text: str, position: int) -> list[Any]:
    """ShareGPT's calls: a JSON object with name and arguments, or a list of them."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ContractError(f"message {position}: the call is not JSON ({error})", "arguments no JSON") from None
    return found if isinstance(found, list) else [found]


def _calls(raw: Mapping[str, Any], position: int, waiting: list[tuple[str, str]]) -> tuple[ToolCall, ...]:
    legacy = raw.get("function_call")
    found = raw.get("tool_calls") or ([{"function": legacy}] if legacy else [])
    if not isinstance(found, list):
        raise ContractError(f"message {position}: the tool calls are no list", "unreadable")
    calls = []
    waiting.clear()
    for number, call in enumerate(found):
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict):
            raise ContractError(f"message {position}: call {number} names no function", "unreadable")
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
