"""One message of a public data set, in any of the usual shapes, as the messages it stands for.

Read are OpenAI's chat format with content as text or as parts and its earlier `function_call`, Anthropic's content
blocks, ShareGPT's `from` and `value`, the roles tool_call and tool_response, and calls and results in tags within the
text. Anything else is refused by kind: passed on as text, it would be trained.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from core.messages import ContractError, ToolSpec
from generation.llm.parsing.dialects import markup, written_calls
from generation.llm.parsing.text_calls import text_call

Role = Literal["system", "user", "assistant", "tool"]

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "tool_response": "tool",
    "ipython": "tool",
}
_CALL_ROLES = {"function_call", "tool_call"}
_TEXTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
_THOUGHTS = {"thinking": "thinking", "reasoning": "text"}
"""Type of a part -> the key of its text."""
_ARGUMENTS = ("arguments", "parameters", "input", "args")
_THOUGHT = re.compile(r"\s*<think>(.*?)</think>|((?:(?!<think>).)*?)</think>(?=[ \t]*(?:\n|\Z))", re.S)
"""Reasoning at the start of an answer. Without its opening tag, which a template may have put into the prompt, only a
closing tag that ends its line is one: others are words about it."""
_RESULT = re.compile(r"<tool_response>\s*(.*?)\s*</tool_response>\s*", re.S)
_PYTHON_CALLS = re.compile(r"\s*\[[A-Za-z_][\w .\-/:]*\((?:\s*\)|\s*\w+\s*=).*\)\]\s*", re.S)
_TOOL_PROMPTS = (
    "<tools>",
    "functions in JSON format that you can invoke",
    "access to the following functions",
    "# Tools\n\nYou may call one or more functions",
    "[BEGIN OF AVAILABLE TOOLS]",
    "Given the following functions",
)
"""In the system prompts of Hermes, ToolACE, Glaive, Qwen, Command and Llama, which state tools and a format of calls in
prose."""


@dataclass(frozen=True)
class RawCall:
    """A call as given. `call_id` is None if it has none."""

    call_id: str | None
    name: Any
    arguments: Any


@dataclass
class RawMessage:
    """A message whose content is text. `call_id` and `name` say which call a result answers, if given."""

    role: Role
    content: str = ""
    reasoning: str = ""
    calls: list[RawCall] = field(default_factory=list)
    call_id: str | None = None
    name: str | None = None


def read_message(raw: Mapping[str, Any], position: int, tools: Sequence[ToolSpec]) -> list[RawMessage]:
    """The messages that `raw` stands for: a block of results in a user message is a message each. `position` is for
    the errors, `tools` are the declared ones. Raises ContractError for a role or a content that is not known, an
    answer that contains a call as text, and one that is not to be trained (weight 0)."""
    where = f"message {position}"
    stated = str(raw.get("role") or raw.get("from") or "")
    body = raw.get("content") if raw.get("content") is not None else raw.get("value")
    if stated in _CALL_ROLES:
        return [RawMessage("assistant", calls=[_call(item, where) for item in _json_calls(body, where)])]
    role = _ROLES.get(stated)
    if role is None:
        raise ContractError(f"{where}: unexpected role {stated!r}", "roles out of order")
    if role == "tool":
        call_id = raw.get("tool_call_id") or raw.get("tool_use_id")
        return [*_results(result_text(body, where), _text_or_none(call_id), _text_or_none(raw.get("name")), where)]
    message = RawMessage(role)
    results = [result for part in _parts(body, where) for result in _add_part(message, part, where)]
    if role == "system" and any(words in message.content for words in _TOOL_PROMPTS):
        raise ContractError(f"{where}: the system prompt states tools in prose", "tools in the system prompt")
    if role == "assistant":
        _complete_answer(message, raw, where, tools)
    return [*results, message] if message.content or message.calls or not results else results


def result_text(value: Any, where: str) -> str:
    """A result as text: parts are read, any other JSON value is written as JSON."""
    if isinstance(value, str) or value is None:
        return value or ""
    if isinstance(value, list) and value and all(isinstance(part, dict) and _is_part(part) for part in value):
        message = RawMessage("tool")
        for part in value:
            _add_part(message, part, where)
        return message.content
    return json.dumps(value, ensure_ascii=False)


def _is_part(part: dict[str, Any]) -> bool:
    """A part of content, rather than a row of a result that has a type."""
    kind = part.get("type")
    return kind in ("image", "image_url", "input_image") or isinstance(part.get(_TEXTS.get(str(kind), "")), str)


def _parts(body: Any, where: str) -> Iterator[dict[str, Any]]:
    for part in body if isinstance(body, list) else [] if body is None else [body]:
        if isinstance(part, str):
            yield {"type": "text", "text": part}
        elif isinstance(part, dict):
            yield part
        else:
            raise _unknown(where, part)


def _add_part(message: RawMessage, part: dict[str, Any], where: str) -> list[RawMessage]:
    """Add a part to its message, and return the result that it is instead."""
    kind = str(part.get("type") or ("text" if "text" in part else ""))
    text = part.get((_TEXTS | _THOUGHTS).get(kind, ""))
    if kind in _TEXTS and isinstance(text, str):
        message.content = f"{message.content}\n{text}" if message.content else text
    elif kind in _THOUGHTS and isinstance(text, str) and message.role == "assistant":
        message.reasoning = f"{message.reasoning}\n\n{text}".strip()
    elif kind == "tool_use" and message.role == "assistant":
        message.calls.append(_call(part, where))
    elif kind == "tool_result" and message.role == "user":
        return [*_results(result_text(part.get("content"), where), _text_or_none(part.get("tool_use_id")), None, where)]
    else:
        raise _unknown(where, part)
    return []


def _unknown(where: str, part: Any) -> ContractError:
    kind = part.get("type") if isinstance(part, dict) else type(part).__name__
    return ContractError(f"{where}: content of the type {kind!r} is not known: {part!r}"[:300], "unknown content")


def _results(text: str, call_id: str | None, name: str | None, where: str) -> Iterator[RawMessage]:
    """The results in `text`: itself, or one in each pair of tags, which may state the name of its tool."""
    if not text.lstrip().startswith("<tool_response>"):
        yield RawMessage("tool", text, call_id=call_id, name=name)
        return
    if _RESULT.sub("", text).strip():
        raise ContractError(f"{where}: text outside the tags of its results: {text[:100]!r}", "unknown content")
    for body in _RESULT.findall(text):
        named = _named(body)
        if named:
            yield RawMessage("tool", result_text(named["content"], where), call_id=call_id, name=str(named["name"]))
        else:
            yield RawMessage("tool", body, call_id=call_id, name=name)


def _named(body: str) -> dict[str, Any] | None:
    """The object in `body` if it states name and content of a result and nothing else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and value.keys() == {"name", "content"} else None


def _complete_answer(message: RawMessage, raw: Mapping[str, Any], where: str, tools: Sequence[ToolSpec]) -> None:
    """Add what stands next to an answer's content, and what is written within it: reasoning and calls."""
    if raw.get("weight") == 0:
        raise ContractError(f"{where}: its weight is 0, so it must not be trained on", "weight 0")
    stated = next((raw[key] for key in ("reasoning_content", "reasoning", "thinking") if raw.get(key)), "")
    if not isinstance(stated, str):
        raise _unknown(where, stated)
    if isinstance(raw.get("refusal"), str) and not message.content:
        message.content = raw["refusal"]
    message.reasoning = message.reasoning or stated
    if not message.reasoning:
        if thought := _THOUGHT.match(message.content):
            message.reasoning = (thought[1] or thought[2] or "").strip()
            message.content = message.content[thought.end() :].strip()
        elif message.content.lstrip().startswith("<think>"):
            raise ContractError(f"{where}: its reasoning is not closed", "unclosed reasoning")
    legacy = raw.get("function_call")
    listed = raw.get("tool_calls") or ([{"function": legacy}] if legacy else [])
    if not isinstance(listed, list):
        raise ContractError(f"{where}: the tool calls are not a list", "unreadable")
    message.calls += [_call(item, where, number) for number, item in enumerate(listed)]
    if markup(message.content):
        message.content, written = written_calls(message.content, tools)
        message.calls += [RawCall(None, call.name, call.arguments) for call in written]
    if (left := markup(message.content)) or _PYTHON_CALLS.fullmatch(message.content):
        raise ContractError(
            f"{where}: a call or {left or 'markup'} in the text is not understood: {message.content[:100]!r}",
            "markup in the text",
        )
    if not message.calls and (problem := text_call(message.content, tools)):
        raise ContractError(f"{where}: the answer {problem}: {message.content[:100]!r}", "call or result as text")


def _json_calls(body: Any, where: str) -> list[Any]:
    """A message that is nothing but calls: a JSON object with name and arguments, or a list of them."""
    try:
        calls = json.loads(body) if isinstance(body, str) else body
    except (ValueError, RecursionError) as error:
        raise ContractError(f"{where}: the call is not JSON ({error})", "arguments no JSON") from None
    return calls if isinstance(calls, list) else [calls]


def _call(raw: Any, where: str, number: int = 0) -> RawCall:
    function = raw.get("function", raw) if isinstance(raw, dict) else None
    if not isinstance(function, dict):
        raise ContractError(f"{where}: call {number} names no function", "unreadable")
    arguments: Any = next((function[key] for key in _ARGUMENTS if function.get(key) is not None), {})
    return RawCall(_text_or_none(raw.get("id")), function.get("name"), arguments)


def _text_or_none(value: Any) -> str | None:
    return None if value in (None, "") else str(value)
