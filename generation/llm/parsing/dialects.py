"""Markup that servers leave in the text: harmony's channels, and the tool calls of each model family.

A server without the right parser, or one whose parser failed, leaves this markup in the text. It is parsed here as the
family's own parser would; what cannot be parsed stays in the text, where `markup` and
generation.llm.parsing.text_calls find it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from core.messages import FunctionCall, ToolSpec
from generation.llm.parsing.json_text import checked_writable, leading_json, only_objects
from generation.specs.resolved_schema import Schema, fits, kinds, resolved

Reader = Callable[[str, dict[str, ToolSpec]], Iterator[FunctionCall | str]]
"""(text between two markers, declared tools by name) -> the calls in it, and the text after them that is for the user.
Raises whatever parsing broken text raises: also if anything else stands between the markers."""

_MARKUP = re.compile(
    r"<\|\w+\|>|<｜[^｜>]+｜>|<(?:start|end)_of_turn>|\[/?INST\]"
    r"|</?tool_calls?>|<function=|</?parameter|\[TOOL_CALLS\]|\[ARGS\]|</?think>|\[/?THINK\]"
    r"|</?function_?calls?>|<invoke |</?tool_code>|```tool_\w+"
)


def markup(text: str) -> str | None:
    """The first piece of model markup in `text`, which no user should see; None if it has none."""
    match = _MARKUP.search(text)
    return match[0] if match else None


@dataclass
class Channels:
    """The messages of a harmony text by channel: to the user, to itself, and to tools as (recipient, body)."""

    content: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)

    def add(self, header: str, body: str) -> None:
        """File one message. Text before its header belongs to no channel and goes to the user."""
        before = header.partition("<|")[0].strip()
        if not _HEADER.match(before):
            self.content.append(before)
        channel = next((name for name in _CHANNELS if name in header), "final")
        recipient = _RECIPIENT.search(header)
        if recipient:
            self.calls.append((recipient[1], body.strip()))
        elif body.strip():
            (self.reasoning if channel == "analysis" else self.content).append(body.strip())


_CHANNELS = ("analysis", "commentary", "final")
_HEADER = re.compile(r"(?:assistant\s*)?(?:(?:analysis|commentary|final)\b|$)")
_RECIPIENT = re.compile(r"\bto=([^\s<]+)")
_ENDS = re.compile(r"<\|(?:end|return|call)\|>|(?=<\|(?:start|channel)\|>)")
# Servers that drop special tokens leave "analysisThe user wants …assistantcommentary to=functions.f
# json{…}assistantfinalDone."
_BARE = re.compile(r"(?:^|assistant)(analysis|final|commentary(?:\s+to=[\w.\-]+)?(?:\s*(?:json|code)(?=\s*\{))?)")
_IS_BARE = re.compile(r"analysis(?=.*assistant(?:final|commentary))|commentary\s+to=functions\.", re.S)


def harmony(text: str) -> Channels | None:
    """The channels of `text`, or None if it has none. The body of a call stays as written."""
    text = text.strip()
    if _IS_BARE.match(text):
        text = _BARE.sub(r"<|channel|>\1<|message|>", text)
    header, *pieces = text.split("<|message|>")
    if not pieces:
        return None
    channels = Channels()
    for piece in pieces:
        body, ended, after = piece, _ENDS.search(piece), ""
        if ended:
            body, after = piece[: ended.start()], piece[ended.end() :]
        channels.add(header, body)
        header = after
    if rest := header.partition("<|")[0].strip():
        channels.content.append(rest)
    return channels


def written_calls(text: str, tools: Sequence[ToolSpec]) -> tuple[str, list[FunctionCall]]:
    """(the text around the calls, the calls), in any family's markup. Calls that cannot be parsed stay in the text."""
    calls: list[FunctionCall] = []
    declared = {tool.name: tool for tool in tools}

    def extract(read: Reader, match: re.Match[str]) -> str:
        try:
            parsed = list(read(match[1], declared))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            parsed = []
        calls.extend(part for part in parsed if isinstance(part, FunctionCall))
        return "".join(part for part in parsed if isinstance(part, str)) if parsed else match[0]

    for pattern, read in _FAMILIES:
        text = pattern.sub(partial(extract, read), text)
    return (_WRAPPERS.sub("", text) if calls else text).strip(), calls


def _hermes(body: str, declared: dict[str, ToolSpec]) -> Iterator[FunctionCall]:
    """{"name": …, "arguments": {…}} between tags, or Qwen-coder's XML."""
    if "<function=" in body:
        if around := _FUNCTION.sub("", body).strip():
            raise ValueError(f"expected nothing but functions, got: {around[:120]!r}")
        for function in _FUNCTION.finditer(body):
            yield from _xml(function[1], declared)
    else:
        yield from map(_json_call, only_objects(body))


def _xml(body: str, declared: dict[str, ToolSpec]) -> Iterator[FunctionCall]:
    """`name>` and its parameters, each as text; or, as Llama writes it, one JSON object with all of them."""
    name, _, inner = body.partition(">")
    texts = {parameter[1].strip(): parameter[2] for parameter in _PARAMETER.finditer(inner)}
    if texts and (around := _WRAPPERS.sub("", _PARAMETER.sub("", inner)).strip()):
        raise ValueError(f"expected nothing but parameters, got: {around[:120]!r}")
    if not texts and inner.strip():
        (arguments,) = only_objects(inner)
        yield _call(name, arguments)
        return
    tool = declared.get(name.strip())
    root = tool.parameters if tool else {}
    types = resolved(root, root).get("properties", {})
    yield _call(name, {key: _typed(value, types.get(key), root) for key, value in texts.items()})


def _typed(text: str, schema: Any, root: Schema) -> Any:
    """A parameter's text as the type that its schema declares. Where that is a string, only the word for an allowed
    null is read as anything else; text that is not JSON is a string, too."""
    text = text.removeprefix("\n").removesuffix("\n")
    try:
        value = json.loads({"True": "true", "False": "false", "None": "null"}.get(text.strip(), text))
    except ValueError:
        return text
    if kinds(schema, root) == {"string"} and not (value is None and fits(None, schema, root)):
        return text
    return value


def _llama(body: str, declared: dict[str, ToolSpec]) -> Iterator[FunctionCall]:
    """{"name": …, "parameters": {…}}, several separated by semicolons."""
    yield from map(_json_call, only_objects(body))


def _bare(body: str, declared: dict[str, ToolSpec]) -> Iterator[FunctionCall]:
    """One call without a tag, bare or in one code fence, only if it is the entire answer and names a declared tool."""
    call = _json_call(json.loads(body))
    if call.name in declared:
        yield call


def _mistral(body: str, declared: dict[str, ToolSpec]) -> Iterator[FunctionCall | str]:
    """An array of calls, or one call as name[ARGS]{…}; the text after them is for the user."""
    name, arguments_follow, arguments = body.partition("[ARGS]")
    if arguments_follow:
        value, after = leading_json(arguments, dict)
        yield _call(name.partition("[CALL_ID]")[0], value)
    else:
        items, after = leading_json(body, list)
        yield from map(_json_call, items)
    yield after


def _deepseek(body: str, declared: dict[str, ToolSpec]) -> Iterator[FunctionCall]:
    """function<sep>name and fenced JSON, or name<sep>JSON."""
    name, _, rest = body.removeprefix(f"function{_SEPARATOR}").replace(_SEPARATOR, "\n", 1).partition("\n")
    (arguments,) = only_objects(rest)
    yield _call(name, arguments)


def _json_call(item: dict[str, Any]) -> FunctionCall:
    function = item.get("function", item)
    arguments = function["arguments"] if "arguments" in function else function["parameters"]
    return _call(function["name"], json.loads(arguments) if isinstance(arguments, str) else arguments or {})


def _call(name: str, arguments: dict[str, Any]) -> FunctionCall:
    return FunctionCall(name=name.strip(), arguments=json.dumps(checked_writable(arguments), ensure_ascii=False))


_SEPARATOR = "<｜tool▁sep｜>"
_FUNCTION = re.compile(r"<function=(.*?)(?:</function>|(?=<function=)|\Z)", re.S)
_PARAMETER = re.compile(r"<parameter=([^>]*)>(.*?)(?:</parameter>|(?=<parameter=)|\Z)", re.S)
_WRAPPERS = re.compile(r"<｜tool▁calls▁(?:begin|end)｜>|</tool_call>|</?tool_calls>|<\|(?:im_end|eo[tm]_id)\|>|</s>")
_FAMILIES: tuple[tuple[re.Pattern[str], Reader], ...] = (
    (re.compile(r"<tool_call>(.*?)(?:</tool_call>|(?=<tool_call>)|\Z)", re.S), _hermes),
    (_FUNCTION, _xml),
    (re.compile(r"<\|python_tag\|>(.*?)(?:<\|eo[tm]_id\|>|\Z)", re.S), _llama),
    (re.compile(r"\[TOOL_CALLS\](.*?)(?=\[TOOL_CALLS\]|\Z)", re.S), _mistral),
    (re.compile(r"<｜tool▁call▁begin｜>(.*?)(?:<｜tool▁call▁end｜>|(?=<｜tool▁call▁begin｜>)|\Z)", re.S), _deepseek),
    (re.compile(r"\A\s*(\{.*\})\s*\Z", re.S), _bare),
    (re.compile(r"\A\s*```\w*\s*(\{.*\})\s*```\s*\Z", re.S), _bare),
)
