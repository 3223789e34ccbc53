"""Parses external conversations, in OpenAI's format and its usual variants such as ShareGPT's, or as turns of speakers
(the Schema-Guided Dialogue set, ABCD), into messages that satisfy the message contract."""

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
from generation.specs.formats import add_tool, parse_tool_name, parse_tool_spec
from generation.specs.padding import without_padding
from generation.start_states.message_shapes import RawCall, RawMessage, read_message
from generation.start_states.speaker_turns import SPEAKER_KEYS, speaker_messages

_JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
_MESSAGES = ("messages", "conversations", "traj")
CONVERSATION_KEYS = (*_MESSAGES, *SPEAKER_KEYS)
"""Keys under which a conversation is read."""
_UNREAD = ("chat", "conversation", "dialog", "query", "question", "instruction", "prompt", "chosen", "text")
"""Keys under which data sets of other formats keep a conversation."""


@dataclass(frozen=True)
class OpenCall:
    """An unanswered call: its id in the source, if it has one, and the call with its id here."""

    source_id: str | None
    call: ToolCall


@dataclass
class ParsedConversation:
    """A conversation in the course of parsing. `repaired` counts, by kind, the contract violations that could be
    repaired; `declared` are the tools that the source states for it; a `columnar` source pads objects with nulls."""

    declared: Mapping[str, ToolSpec]
    columnar: bool
    messages: list[Message] = field(default_factory=list)
    repaired: Counter[str] = field(default_factory=Counter)
    open_calls: list[OpenCall] = field(default_factory=list)


def parse_messages(raw: Mapping[str, Any], declared: Sequence[ToolSpec] = ()) -> tuple[Message, ...]:
    """The messages of `parse_conversation`."""
    return tuple(parse_conversation(raw, declared).messages)


def parse_conversation(
    raw: Mapping[str, Any], declared: Sequence[ToolSpec] = (), columnar: bool = False
) -> ParsedConversation:
    """Parse a conversation as `read_conversation` does. Drops a final user message and unanswered calls at the end, so
    that the dialogue can continue there. Raises as `read_conversation` does."""
    parsed = read_conversation(raw, declared, columnar)
    while parsed.messages and not _may_end(parsed.messages[-1]):
        last = parsed.messages.pop()
        parsed.repaired["closing user message" if isinstance(last, UserMessage) else "open calls at the end"] += 1
    return parsed


def read_conversation(
    raw: Mapping[str, Any], declared: Sequence[ToolSpec] = (), columnar: bool = False
) -> ParsedConversation:
    """Parse the messages under "messages", "conversations" (ShareGPT) or "traj" (τ-bench) and an optional "system", or
    the turns of speakers that `speaker_messages` reads; without any of these keys the conversation is empty.

    Drops an assistant's greeting before the user's first message; removes the nulls that pad arguments, more of them if
    the source is `columnar` (see generation.specs.padding).
    Raises ValueError if the rest is not a valid conversation, and ContractError for a shape that is not known.
    """
    raw_messages: Any = next((raw[key] for key in _MESSAGES if raw.get(key)), None) or speaker_messages(raw)
    if isinstance(raw_messages, str):
        raw_messages = json.loads(raw_messages)
    if not isinstance(raw_messages, list) or not all(isinstance(message, dict) for message in raw_messages):
        raise ContractError('"messages" is not a list of messages', "unreadable")
    if not raw_messages and (foreign := next((key for key in _UNREAD if raw.get(key)), None)):
        raise ContractError(
            f'a conversation under "{foreign}" is not read; expected: a list of messages under {CONVERSATION_KEYS}',
            "unknown format",
        )
    parsed = ParsedConversation({tool.name: tool for tool in declared}, columnar)
    if isinstance(raw.get("system"), str):
        _add(parsed, {"role": "system", "content": raw["system"]})
    for message in raw_messages:
        _add(parsed, message)
    return parsed


def _may_end(message: Message) -> bool:
    """Whether the next message may be the user's."""
    return isinstance(message, SystemMessage) or (isinstance(message, AssistantMessage) and not message.tool_calls)


def declared_tools(raw: Any) -> tuple[ToolSpec, ...]:
    """The tools that a line states. Raises ValueError for tools that cannot be parsed or contradict each other."""
    listed = json.loads(raw) if isinstance(raw, str) else raw or []
    if not isinstance(listed, list):
        raise ValueError('"tools" is not a list of function specs')
    tools: dict[str, ToolSpec] = {}
    for part in listed:
        add_tool(tools, parse_tool_spec(part))
    return tuple(tools.values())


def complete_tools(declared: Sequence[ToolSpec], messages: Sequence[Message]) -> tuple[ToolSpec, ...]:
    """The declared tools, and specs inferred from the calls of undeclared ones. Raises ValueError if the conversation
    breaks the contract with the tools."""
    specs = {spec.name for spec in declared}
    observed: dict[str, list[dict[str, Any]]] = {}
    for message in messages:
        for call in message.tool_calls or () if isinstance(message, AssistantMessage) else ():
            if call.name not in specs:
                observed.setdefault(call.name, []).append(call.parsed())
    tools = (*declared, *(_inferred(name, arguments) for name, arguments in observed.items()))
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
    """Append what one message stands for; consecutive messages that the contract requires to be one are joined."""
    messages = parsed.messages
    for part in read_message(raw, len(messages), tuple(parsed.declared.values())):
        if part.role == "tool":
            _add_result(parsed, part)
        elif part.role == "assistant":
            _add_answer(parsed, part)
        elif part.role == "user":
            content = part.content
            if messages and isinstance(messages[-1], UserMessage):
                content = f"{messages.pop().content}\n\n{content}".strip()
                parsed.repaired["neighbours joined"] += 1
            messages.append(UserMessage(content=content))
        elif messages:
            raise ContractError(f"message {len(messages)}: unexpected role 'system'", "roles out of order")
        elif part.content.strip():
            messages.append(SystemMessage(content=part.content))


def _add_result(parsed: ParsedConversation, result: RawMessage) -> None:
    """Append the result of the open call that has its id or, without ids, its name; of the first one if it has
    neither. Raises ContractError if there is no such call: any other would be a guess."""
    where = f"message {len(parsed.messages)}"
    if not parsed.open_calls:
        raise ContractError(f"{where}: a tool result without a call", "stray result")
    fitting = parsed.open_calls
    if result.call_id is not None and any(pending.source_id is not None for pending in fitting):
        fitting = [pending for pending in fitting if pending.source_id == result.call_id]
    if result.name is not None:
        name = parse_tool_name(result.name)
        fitting = [pending for pending in fitting if pending.call.name == name]
    if not fitting:
        given = " ".join(part for part in (result.name, result.call_id) if part)
        open_calls = [f"{pending.call.name} {pending.source_id or ''}".strip() for pending in parsed.open_calls]
        raise ContractError(f"{where}: a result of {given!r}, but the open calls are {open_calls}", "stray result")
    answered = fitting[0]
    parsed.open_calls.remove(answered)
    parsed.messages.append(ToolMessage(tool_call_id=answered.call.id, content=result.content))


def _add_answer(parsed: ParsedConversation, answer: RawMessage) -> None:
    messages, content, reasoning = parsed.messages, answer.content, answer.reasoning
    last = messages[-1] if messages else None
    if isinstance(last, AssistantMessage) and not last.tool_calls:
        messages.pop()
        content = f"{last.content}\n\n{content}".strip()
        reasoning = f"{last.reasoning_content or ''}\n\n{reasoning}".strip()
        parsed.repaired["neighbours joined"] += 1
    calls = _open_calls(parsed, answer.calls)
    if not calls and all(isinstance(message, SystemMessage) for message in messages):
        parsed.repaired["greeting left out"] += 1
        return
    messages.append(AssistantMessage(content=content, reasoning_content=reasoning or None, tool_calls=calls or None))


def _open_calls(parsed: ParsedConversation, raw_calls: Sequence[RawCall]) -> tuple[ToolCall, ...]:
    """The calls of an answer, with new ids; they replace the open ones."""
    position = len(parsed.messages)
    parsed.open_calls.clear()
    for number, raw in enumerate(raw_calls):
        name, arguments = parse_tool_name(raw.name), raw.arguments
        if isinstance(arguments, dict):
            parameters = parsed.declared[name].parameters if name in parsed.declared else {}
            if (stripped := without_padding(arguments, parameters, parsed.columnar)) != arguments:
                parsed.repaired["padding removed"] += 1
                arguments = stripped
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        call = ToolCall(id=f"given_{position}_{number}", function=FunctionCall(name=name, arguments=text or "{}"))
        call.parsed()
        if raw.call_id is not None and raw.call_id in [pending.source_id for pending in parsed.open_calls]:
            raise ContractError(f"message {position}: two calls have the id {raw.call_id!r}", "repeated call id")
        parsed.open_calls.append(OpenCall(raw.call_id, call))
    return tuple(pending.call for pending in parsed.open_calls)
