"""Parses external conversations, in OpenAI's format and its usual variants such as ShareGPT's, into messages that
satisfy the message contract."""

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
from generation.specs.formats import parse_tool_name, parse_tool_spec

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
class ParsedConversation:
    """A conversation in the course of parsing. `repaired` counts, by kind, the contract violations that could be
    repaired; `open_calls` lists the unanswered calls as (id in the source, id here)."""

    messages: list[Message] = field(default_factory=list)
    repaired: Counter[str] = field(default_factory=Counter)
    open_calls: list[tuple[str, str]] = field(default_factory=list)


def parse_messages(raw: Mapping[str, Any]) -> tuple[Message, ...]:
    """The messages of `parse_conversation`."""
    return tuple(parse_conversation(raw).messages)


def parse_conversation(raw: Mapping[str, Any]) -> ParsedConversation:
    """Parse the messages under "messages", "conversations" (ShareGPT) or "traj" (τ-bench), and an optional "system";
    without any of these keys the conversation is empty.

    Drops a final user message and unanswered calls at the end, so that the dialogue can continue there, and an
    assistant's greeting before the user's first message. Raises ValueError if the rest is not a valid conversation.
    """
    raw_messages: Any = next((raw[key] for key in ("messages", "conversations", "traj") if raw.get(key)), [])
    if isinstance(raw_messages, str):
        raw_messages = json.loads(raw_messages)
    if not isinstance(raw_messages, list) or not all(isinstance(message, dict) for message in raw_messages):
        raise ContractError('"messages" is not a list of messages', "unreadable")
    parsed = ParsedConversation()
    if isinstance(raw.get("system"), str):
        _add(parsed, {"role": "system", "content": raw["system"]})
    for message in raw_messages:
        _add(parsed, message)
    while parsed.messages and not _may_end(parsed.messages[-1]):
        last = parsed.messages.pop()
        parsed.repaired["closing user message" if isinstance(last, UserMessage) else "open calls at the end"] += 1
    return parsed


def _may_end(message: Message) -> bool:
    """Whether the next message may be the user's."""
    return isinstance(message, SystemMessage) or (isinstance(message, AssistantMessage) and not message.tool_calls)


def parse_tools(raw: Any, messages: Sequence[Message]) -> tuple[ToolSpec, ...]:
    """The declared tools, and specs inferred from the calls of undeclared ones. Raises ValueError for tools that cannot
    be parsed, and if the conversation breaks the contract with the tools."""
    declared = json.loads(raw) if isinstance(raw, str) else raw or []
    if not isinstance(declared, list):
        raise ValueError('"tools" is not a list of function specs')
    specs = {spec.name: spec for spec in map(parse_tool_spec, declared)}
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
    """A spec that fits all observed calls."""
    types: dict[str, set[str]] = {}
    for arguments in observed:
        for key, value in arguments.items():
            types.setdefault(key, set()).add("null" if value is None else _JSON_TYPES[type(value)])
    properties = {key: {"type": sorted(kinds) if len(kinds) > 1 else next(iter(kinds))} for key, kinds in types.items()}
    required = [key for key in properties if all(key in arguments for arguments in observed)]
    words = name.replace("_", " ")
    return ToolSpec(
        name=name,
        description=f"{words[0].upper()}{words[1:]}.",
        parameters={"type": "object", "properties": properties, "required": required},
    )


def _add(parsed: ParsedConversation, raw: dict[str, Any]) -> None:
    """Append one message; consecutive messages that the contract requires to be one are joined."""
    messages = parsed.messages
    raw_role = str(raw.get("role", raw.get("from", "")))
    role, content = _ROLES.get(raw_role, raw_role), _text(raw.get("content", raw.get("value")))
    if role == "tool":
        _add_result(parsed, str(raw.get("tool_call_id")), content)
    elif role == "function_call":
        _add_answer(parsed, {"tool_calls": _sharegpt_calls(content, len(messages))}, "")
    elif role == "assistant":
        _add_answer(parsed, raw, content)
    elif role == "user":
        if messages and isinstance(messages[-1], UserMessage):
            content = f"{messages.pop().content}\n\n{content}".strip()
            parsed.repaired["neighbours joined"] += 1
        messages.append(UserMessage(content=content))
    elif role == "system" and not messages:
        if content.strip():
            messages.append(SystemMessage(content=content))
    else:
        raise ContractError(f"message {len(messages)}: unexpected role {raw_role!r}", "roles out of order")


def _add_result(parsed: ParsedConversation, source_id: str, content: str) -> None:
    if not parsed.open_calls:
        where = f"message {len(parsed.messages)}"
        raise ContractError(f"{where}: a tool result without a call", "stray result")
    pair = next((pair for pair in parsed.open_calls if pair[0] == source_id), parsed.open_calls[0])
    parsed.open_calls.remove(pair)
    parsed.messages.append(ToolMessage(tool_call_id=pair[1], content=content))


def _add_answer(parsed: ParsedConversation, raw: Mapping[str, Any], content: str) -> None:
    messages, reasoning = parsed.messages, _text(raw.get("reasoning_content") or raw.get("reasoning"))
    if not reasoning and content.lstrip().startswith(_THINKING[0]):
        reasoning, content = _split_reasoning(content, len(messages))
    last = messages[-1] if messages else None
    if isinstance(last, AssistantMessage) and not last.tool_calls:
        messages.pop()
        content = f"{last.content}\n\n{content}".strip()
        reasoning = f"{last.reasoning_content or ''}\n\n{reasoning}".strip()
        parsed.repaired["neighbours joined"] += 1
    calls = _calls(raw, len(messages), parsed.open_calls)
    if not calls and all(isinstance(message, SystemMessage) for message in messages):
        parsed.repaired["greeting left out"] += 1
        return
    messages.append(AssistantMessage(content=content, reasoning_content=reasoning or None, tool_calls=calls or None))


def _split_reasoning(text: str, position: int) -> tuple[str, str]:
    """(reasoning, content) of an answer that starts with its reasoning in <think> tags."""
    reasoning, end, content = text.lstrip().removeprefix(_THINKING[0]).partition(_THINKING[1])
    if not end:
        raise ContractError(f"message {position}: its reasoning is not closed", "unclosed reasoning")
    return reasoning.strip(), content.strip()


def _sharegpt_calls(text: str, position: int) -> list[Any]:
    """ShareGPT's calls: a JSON object with name and arguments, or a list of them."""
    try:
        calls = json.loads(text)
    except ValueError as error:
        raise ContractError(f"message {position}: the call is not JSON ({error})", "arguments no JSON") from None
    return calls if isinstance(calls, list) else [calls]


def _calls(raw: Mapping[str, Any], position: int, open_calls: list[tuple[str, str]]) -> tuple[ToolCall, ...]:
    """The calls of an answer, with new ids; they replace `open_calls`."""
    legacy = raw.get("function_call")
    raw_calls = raw.get("tool_calls") or ([{"function": legacy}] if legacy else [])
    if not isinstance(raw_calls, list):
        raise ContractError(f"message {position}: the tool calls are not a list", "unreadable")
    calls = []
    open_calls.clear()
    for number, raw_call in enumerate(raw_calls):
        function = raw_call.get("function", raw_call) if isinstance(raw_call, dict) else None
        if not isinstance(function, dict):
            raise ContractError(f"message {position}: call {number} names no function", "unreadable")
        arguments = function.get("arguments") or "{}"
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        name = parse_tool_name(function.get("name"))
        call = ToolCall(id=f"given_{position}_{number}", function=FunctionCall(name=name, arguments=text))
        call.parsed()
        calls.append(call)
        open_calls.append((str(raw_call.get("id")), call.id))
    return tuple(calls)


def _text(value: Any) -> str:
    """Content as a string; it may be null, a list of parts, or any JSON value."""
    if isinstance(value, list) and all(isinstance(part, dict) and part.keys() & _PARTS for part in value):
        return "\n".join(str(part["text"]) for part in value if "text" in part)
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)
