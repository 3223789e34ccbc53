"""Answers broken the way models and servers break them: damaged in the wire format, then parsed like any reply."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any, Literal, get_args

from core.messages import AssistantMessage, FunctionCall, ToolCall
from generation.llm.base import Completion, Request
from generation.llm.parsing.completion import parse_completion

Breakage = Literal["malformed", "truncated", "empty", "unclosed"]
BREAKAGES: tuple[Breakage, ...] = get_args(Breakage)

Wire = dict[str, Any]
"""A message, or some of its fields, as a server sends it."""

_PROSE = (
    "I am sorry, but I cannot help with that in the requested format.",
    "Sure! Here is what you asked for. Let me know if you need anything else.",
    "We need to think about this carefully. First, the request has to be understood.",
)
_LEAKS = ("<|im_end|>\n<|im_start|>user", '\n<tool_call>\n{"name": ', "\n[TOOL_CALLS]")


def break_answer(completion: Completion, kind: Breakage, request: Request, rng: Random) -> Completion:
    """The completion as it would have been parsed if its answer had been broken:

    - malformed: calls with cut or misnamed arguments or in Python notation, calls of a missing tool or half in the
      text; JSON that is cut, in Python notation or without a field, or prose instead; prose with a model's markup
    - truncated: cut off somewhere by the token limit
    - empty: thinking without an answer
    - unclosed: thinking that never ends

    Some malformed answers can be repaired; their `flaws` then say so. Tokens and times do not change.
    """
    message, reason = completion.message, completion.finish_reason
    wire: Wire = {"content": message.content, "reasoning": message.reasoning_content}
    match kind:
        case "malformed":
            wire |= _malformed(message, request, rng)
        case "truncated":
            wire, reason = wire | _truncated(message, rng), "length"
        case "empty":
            wire["content"] = ""
        case "unclosed":
            wire = {"content": f"<think>\n{message.reasoning_content or ''}\n{message.content}"}
    reply = {"choices": [{"message": wire, "finish_reason": reason}]}
    parsed = parse_completion(reply, completion.seconds, request.tools)
    return replace(
        completion,
        message=parsed.message,
        finish_reason=parsed.finish_reason,
        flaws=tuple(dict.fromkeys((*completion.flaws, *parsed.flaws))),
    )


def _truncated(message: AssistantMessage, rng: Random) -> Wire:
    """Cut within the last part of the answer."""
    if message.tool_calls:
        return _cut_arguments(message.tool_calls, rng)
    return {"content": _cut(message.content, rng)}


def _malformed(message: AssistantMessage, request: Request, rng: Random) -> Wire:
    if message.tool_calls:
        return rng.choice(_BREAK_CALLS)(message.tool_calls, rng)
    if request.tools:  # the answer is prose
        return {"content": message.content + rng.choice(_LEAKS)}
    return {"content": rng.choice(_BREAK_JSON)(message.content, rng)}


def _cut(text: str, rng: Random) -> str:
    return text[: rng.randrange(len(text))] if text else ""


def _cut_arguments(calls: tuple[ToolCall, ...], rng: Random) -> Wire:
    return _change_last(calls, arguments=_cut(calls[-1].function.arguments, rng))


def _python_arguments(calls: tuple[ToolCall, ...], rng: Random) -> Wire:
    return _change_last(calls, arguments=_in_python(calls[-1].function.arguments, rng))


def _misnamed_argument(calls: tuple[ToolCall, ...], rng: Random) -> Wire:
    arguments = _json_or_none(calls[-1].function.arguments)
    if not isinstance(arguments, dict) or not arguments:
        return _unknown_tool(calls, rng)
    wrong = rng.choice(list(arguments))
    renamed = {f"the_{name}" if name == wrong else name: value for name, value in arguments.items()}
    return _change_last(calls, arguments=json.dumps(renamed, ensure_ascii=False))


def _unknown_tool(calls: tuple[ToolCall, ...], rng: Random) -> Wire:
    return _change_last(calls, name=f"{calls[-1].name}_{rng.choice(('details', 'v2', 'by_name'))}")


def _half_in_the_text(calls: tuple[ToolCall, ...], rng: Random) -> Wire:
    written = json.dumps({"name": calls[0].name, "arguments": calls[0].function.arguments}, ensure_ascii=False)
    return {"content": f"<tool_call>\n{_cut(written, rng)}"}


def _change_last(calls: tuple[ToolCall, ...], **changes: str) -> Wire:
    """The calls with changes in the last one."""
    function = FunctionCall(**(calls[-1].function.model_dump() | changes))
    last = calls[-1].model_copy(update={"function": function})
    return {"tool_calls": [call.model_dump() for call in (*calls[:-1], last)]}


def _in_prose(text: str, rng: Random) -> str:
    return rng.choice(_PROSE)


def _in_python(text: str, rng: Random) -> str:
    """The value in Python notation (single quotes, True, None); text that is not JSON is cut."""
    value = _json_or_none(text)
    return _cut(text, rng) if value is None else repr(value)


def _without_a_field(text: str, rng: Random) -> str:
    value = _json_or_none(text)
    if not isinstance(value, dict) or not value:
        return _cut(text, rng)
    dropped = rng.choice(list(value))
    return json.dumps({name: part for name, part in value.items() if name != dropped}, ensure_ascii=False)


def _json_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


_BREAK_CALLS: tuple[Callable[[tuple[ToolCall, ...], Random], Wire], ...] = (
    _cut_arguments,
    _python_arguments,
    _misnamed_argument,
    _unknown_tool,
    _half_in_the_text,
)
_BREAK_JSON: tuple[Callable[[str, Random], str], ...] = (_cut, _in_prose, _in_python, _without_a_field)
