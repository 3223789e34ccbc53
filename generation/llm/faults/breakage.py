"""Answers broken as models and their servers break them: on the wire, and then read by the parser that reads every server's."""

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
"""A message, or the parts of one, as a server sends it."""

_PROSE = (
    "I am sorry, but I cannot help with that in the requested format.",
    "Sure! Here is what you asked for. Let me know if you need anything else.",
    "We need to think about this carefully. First, the request has to be understood.",
)
_LEAKS = ("<|im_end|>\n<|im_start|>user", '\n<tool_call>\n{"name": ', "\n[TOOL_CALLS]")


def broken(completion: Completion, kind: Breakage, request: Request, rng: Random) -> Completion:
    """The completion as it would have been read if its answer had come out so:

    - malformed: calls with arguments that are cut, misnamed or in Python's notation, of a tool that does not exist, or half in
      the text; JSON that is cut, in Python's notation or without a field, or prose instead; words with a model's markup
    - truncated: cut off somewhere by the token limit
    - empty: thought about, but not given
    - unclosed: thinking that does not end

    Some of what is malformed can be repaired, and `flaws` then says so. Tokens and times stay what they were.
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
    read = parse_completion(reply, completion.seconds, request.tools)
    return replace(
        completion,
        message=read.message,
        finish_reason=read.finish_reason,
        flaws=tuple(dict.fromkeys((*completion.flaws, *read.flaws))),
    )


def _truncated(message: AssistantMessage, rng: Random) -> Wire:
    """Cut within what was written last."""
    if message.tool_calls:
        return _cut_arguments(message.tool_calls, rng)
    return {"content": _cut(message.content, rng)}


def _malformed(message: AssistantMessage, request: Request, rng: Random) -> Wire:
    if message.tool_calls:
        return rng.choice(_OF_CALLS)(message.tool_calls, rng)
    if request.tools:  # it answers in words
        return {"content": message.content + rng.choice(_LEAKS)}
    return {"content": rng.choice(_OF_JSON)(message.content, rng)}


def _cut(text: str, rng: Random) -> str:
    return text[: rng.randrange(len(text))] if text else ""


def _cut_arguments(calls: tuple[ToolCall, ...], rng: Random) -> Wire:
    return _last(calls, arguments=_cut(calls[-1].function.arguments, rng))


def _python_arguments(calls: tuple[ToolCall, ...], rng: Random) -> Wire:
    return _last(calls, arguments=_in_python(calls[-1].function.arguments, rng))


def _misnamed_argument(calls: tuple[ToolCall, ...], rng: Random) -> Wire:
    given = _json(calls[-1].function.arguments)
    if not isinstance(given, dict) or not given:
        return _no_such_tool(calls, rng)
    wrong = rng.choice(list(given))
    named = {f"the_{name}" if name == wrong else name: value for name, value in given.items()}
    return _last(calls, arguments=json.dumps(named, ensure_ascii=False))


def _no_such_tool(calls: tuple[ToolCall, ...], rng: Random) -> Wire:
    return _last(calls, name=f"{calls[-1].name}_{rng.choice(('details', 'v2', 'by_name'))}")


def _half_in_the_text(calls: tuple[ToolCall, ...], rng: Random) -> Wire:
    written = json.dumps({"name": calls[0].name, "arguments": calls[0].function.arguments}, ensure_ascii=False)
    return {"content": f"<tool_call>\n{_cut(written, rng)}"}


def _last(calls: tuple[ToolCall, ...], **changed: str) -> Wire:
    """The calls, the last one changed."""
    function = FunctionCall(**(calls[-1].function.model_dump() | changed))
    last = calls[-1].model_copy(update={"function": function})
    return {"tool_calls": [call.model_dump() for call in (*calls[:-1], last)]}


def _in_prose(text: str, rng: Random) -> str:
    return rng.choice(_PROSE)


def _in_python(text: str, rng: Random) -> str:
    """Single quotes, True and None; what is no JSON to begin with is cut."""
    value = _json(text)
    return _cut(text, rng) if value is None else repr(value)


def _without_a_field(text: str, rng: Random) -> str:
    value = _json(text)
    if not isinstance(value, dict) or not value:
        return _cut(text, rng)
    gone = rng.choice(list(value))
    return json.dumps({name: part for name, part in value.items() if name != gone}, ensure_ascii=False)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


_OF_CALLS: tuple[Callable[[tuple[ToolCall, ...], Random], Wire], ...] = (
    _cut_arguments,
    _python_arguments,
    _misnamed_argument,
    _no_such_tool,
    _half_in_the_text,
)
_OF_JSON: tuple[Callable[[str, Random], str], ...] = (_cut, _in_prose, _in_python, _without_a_field)
