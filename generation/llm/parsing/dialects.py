"""What models write where their server does not parse it: harmony's channels, and tool calls in the markup of each family.

A server without the right parser, or one whose parser gave up, leaves this markup in the text. It is read as the family's
own parser would read it; what cannot be read stays in the text, where `markup` finds it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from core.messages import FunctionCall, ToolSpec
from generation.llm.parsing.json_text import first_json

Reader = Callable[[str, dict[str, ToolSpec]], Iterator[FunctionCall]]
"""The calls in what stands between two marks; `declared` are the tools by name. Raises what reading broken text raises."""

_MARKUP = re.compile(
    r"<\|(?:start|end|message|channel|constrain|return|call|python_tag|im_start|im_end|eot_id|eom_id)\|>"
    r"|</?tool_calls?>|<function=|</?parameter|\[TOOL_CALLS\]|\[ARGS\]|<｜tool[^>]*｜>|</?think>|\[/?THINK\]"
)


def markup(text: str) -> str | None:
    """The first piece of a model's own markup in `text`, which no user should read."""
    found = _MARKUP.search(text)
    return found[0] if found else None


@dataclass
class Spoken:
    """What a harmony text says on its channels: to the user, to itself, and to tools (recipient, body)."""

    content: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)

    def add(self, header: str, body: str) -> None:
        """One message. Words before its header belong to nobody and go to the user."""
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
# Servers that drop special tokens leave "analysisThe user wants …assistantcommentary to=functions.f json{…}assistantfinalDone."
_BARE = re.compile(r"(?:^|assistant)(analysis|final|commentary(?:\s+to=[\w.\-]+)?(?:\s*(?:json|code)(?=\s*\{))?)")
_IS_BARE = re.compile(r"analysis(?=.*assistant(?:final|commentary))|commentary\s+to=functions\.", re.S)


def harmony(text: str) -> Spoken | None:
    """The channels of `text`; None if it has none. A call's body stays as it was written."""
    text = text.strip()
    if _IS_BARE.match(text):
        text = _BARE.sub(r"<|channel|>\1<|message|>", text)
    header, *pieces = text.split("<|message|>")
    if not pieces:
        return None
    spoken = Spoken()
    for piece in pieces:
        body, ended, after = piece, _ENDS.search(piece), ""
        if ended:
            body, after = piece[: ended.start()], piece[ended.end() :]
        spoken.add(header, body)
        header = after
    if rest := header.partition("<|")[0].strip():
        spoken.content.append(rest)
    return spoken


def written_calls(text: str, tools: Sequence[ToolSpec]) -> tuple[str, list[FunctionCall]]:
    """(the text around the calls, the calls) of whichever family's markup stands in `text`; calls that cannot be read stay."""
    calls: list[FunctionCall] = []
    declared = {tool.name: tool for tool in tools}

    def take(read: Reader, found: re.Match[str]) -> str:
        try:
            taken = list(read(found[1], declared))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            taken = []
        calls.extend(taken)
        return "" if taken else found[0]

    for pattern, read in _FAMILIES:
        text = pattern.sub(partial(take, read), text)
    return (_WRAPPERS.sub("", text) if calls else text).strip(), calls


def _hermes(body: str, declared: dict[str, ToolSpec]) -> Iterator[FunctionCall]:
    """{"name": …, "arguments": {…}} between tags, or Qwen-coder's XML."""
    if "<function=" in body:
        for found in _FUNCTION.finditer(body):
            yield from _xml(found[1], declared)
    else:
        yield _json_call(first_json(body, dict, partial=False))


def _xml(body: str, declared: dict[str, ToolSpec]) -> Iterator[FunctionCall]:
    """`name>` and its parameters, each as text; or Llama's way, one JSON object of all."""
    name, _, inner = body.partition(">")
    given = {found[1].strip(): found[2] for found in _PARAMETER.finditer(inner)}
    if not given and inner.strip():
        yield _call(name, first_json(inner, dict, partial=False))
        return
    tool = declared.get(name.strip())
    types = tool.parameters.get("properties", {}) if tool else {}
    yield _call(name, {key: _typed(value, types.get(key, {})) for key, value in given.items()})


def _typed(text: str, schema: dict[str, Any]) -> Any:
    """A parameter's text as the type that its schema names; a string where it names none and the text is no JSON."""
    text = text.removeprefix("\n").removesuffix("\n")
    if schema.get("type") == "string":
        return text
    try:
        return json.loads({"True": "true", "False": "false", "None": "null"}.get(text.strip(), text))
    except ValueError:
        return text


def _llama(body: str, declared: dict[str, ToolSpec]) -> Iterator[FunctionCall]:
    """{"name": …, "parameters": {…}}, several separated by semicolons."""
    for part in re.split(r";\s*(?=\{)", body.strip()):
        yield _json_call(first_json(part, dict, partial=False))


def _bare_llama(body: str, declared: dict[str, ToolSpec]) -> Iterator[FunctionCall]:
    """The same without a tag: only where it is the whole answer and names a tool."""
    call = _json_call(json.loads(body))
    if call.name in declared:
        yield call


def _mistral(body: str, declared: dict[str, ToolSpec]) -> Iterator[FunctionCall]:
    """An array of calls, or one call as name[ARGS]{…}."""
    name, arguments_follow, arguments = body.partition("[ARGS]")
    if arguments_follow:
        yield _call(name.partition("[CALL_ID]")[0], first_json(arguments, dict, partial=False))
    else:
        for item in first_json(body, list, partial=False):
            yield _json_call(item)


def _deepseek(body: str, declared: dict[str, ToolSpec]) -> Iterator[FunctionCall]:
    """function<sep>name and fenced JSON, or name<sep>JSON."""
    name, _, rest = body.removeprefix(f"function{_SEPARATOR}").replace(_SEPARATOR, "\n", 1).partition("\n")
    yield _call(name, first_json(rest, dict, partial=False))


def _json_call(item: dict[str, Any]) -> FunctionCall:
    function = item.get("function", item)
    arguments = function["arguments"] if "arguments" in function else function["parameters"]
    return _call(function["name"], json.loads(arguments) if isinstance(arguments, str) else arguments or {})


def _call(name: str, arguments: dict[str, Any]) -> FunctionCall:
    return FunctionCall(name=name.strip(), arguments=json.dumps(arguments, ensure_ascii=False))


_SEPARATOR = "<｜tool▁sep｜>"
_FUNCTION = re.compile(r"<function=(.*?)(?:</function>|(?=<function=)|\Z)", re.S)
_PARAMETER = re.compile(r"<parameter=([^>]*)>(.*?)(?:</parameter>|(?=<parameter=)|\Z)", re.S)
_WRAPPERS = re.compile(r"<｜tool▁calls▁(?:begin|end)｜>|</tool_call>|</?tool_calls>|<\|(?:im_end|eo[tm]_id)\|>")
_FAMILIES: tuple[tuple[re.Pattern[str], Reader], ...] = (
    (re.compile(r"<tool_call>(.*?)(?:</tool_call>|(?=<tool_call>)|\Z)", re.S), _hermes),
    (_FUNCTION, _xml),
    (re.compile(r"<\|python_tag\|>(.*?)(?:<\|eo[tm]_id\|>|\Z)", re.S), _llama),
    (re.compile(r"\[TOOL_CALLS\](.*?)(?=\[TOOL_CALLS\]|\Z)", re.S), _mistral),
    (re.compile(r"<｜tool▁call▁begin｜>(.*?)(?:<｜tool▁call▁end｜>|(?=<｜tool▁call▁begin｜>)|\Z)", re.S), _deepseek),
    (re.compile(r"\A\s*(\{.*\})\s*\Z", re.S), _bare_llama),
)
