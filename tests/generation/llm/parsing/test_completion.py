"""Replies of several model families, whole and broken in every way, against what they say."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from core.messages import ToolCall, ToolSpec
from generation.dialogue.agent import check_answer
from generation.llm.parsing.completion import parse_completion
from generation.llm.parsing.dialects import markup
from tests.helpers.paths import GOLDEN

ANSWERS = GOLDEN / "answers"
FAMILIES = ("qwen3", "gpt_oss", "deepseek", "llama3", "mistral", "hermes")
BREAKS = ("truncated", "empty", "malformed", "unclosed")


def tool(name: str, required: list[str], **properties: str) -> ToolSpec:
    types = {field: {"type": kind} for field, kind in properties.items()}
    return ToolSpec(
        name=name, description="d", parameters={"type": "object", "properties": types, "required": required}
    )


TOOLS = (
    tool("get_member", ["member_id"], member_id="integer"),
    tool("search_books", ["title"], title="string", limit="integer"),
    tool("set_note", ["text"], text="string"),
)


def golden(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    read = json.loads((ANSWERS / f"{name}.json").read_text())
    return read["body"], read["expected"]


def arguments(call: ToolCall) -> Any:
    """As an object where they are one, else as they were written."""
    try:
        return call.parsed()
    except ValueError:
        return call.function.arguments


NAMES = sorted(path.stem for path in ANSWERS.glob("*.json"))


def test_every_family_is_there_broken_in_every_way() -> None:
    assert not [f"{family}_{way}" for family in FAMILIES for way in BREAKS if f"{family}_{way}" not in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_a_reply_is_read_as_it_was_meant(name: str) -> None:
    body, expected = golden(name)
    completion = parse_completion(body, 0.5, TOOLS)
    message = completion.message
    assert {
        "content": message.content,
        "reasoning": message.reasoning_content,
        "calls": [[call.name, arguments(call)] for call in message.tool_calls or ()],
        "flaws": list(completion.flaws),
        "finish_reason": completion.finish_reason,
    } == {key: value for key, value in expected.items() if key != "usable"}
    assert completion.prompt_tokens == 412
    assert completion.completion_tokens == body["usage"]["completion_tokens"]
    try:
        check_answer(completion, TOOLS)
        usable = completion.finish_reason != "length"  # Meter.ask takes nothing that was cut off
    except ValueError:
        usable = False
    assert usable is expected["usable"], "whether an agent may say this in a dialogue"
    assert not usable or markup(message.content) is None


@pytest.mark.parametrize("name", NAMES)
def test_a_role_without_tools_is_never_read_as_calling(name: str) -> None:
    body, _ = golden(name)
    if not body["choices"][0]["message"].get("tool_calls"):
        assert parse_completion(body, 0.0).message.tool_calls is None


def test_the_answer_of_a_role_without_tools_is_whole_however_it_is_addressed() -> None:
    body, _ = golden("gpt_oss_leaked_call")
    completion = parse_completion(body, 0.0)
    assert completion.message.content == '{"member_id":7}'
    assert completion.message.reasoning_content == "User asks about member 7. Use get_member."


def said(content: str, **more: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": content, **more}}]}


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("functions.get_member", "get_member"),
        ("default_api:get_member", "get_member"),
        ("tools/get_member", "get_member"),
        ("get_member<|channel|>analysis", "get_member"),
        (" get_member ", "get_member"),
        ("other.thing", "other.thing"),
    ],
)
def test_names_are_those_of_tools(name: str, plain: str) -> None:
    call = {"id": "c", "function": {"name": name, "arguments": "{}"}}
    completion = parse_completion(said("", tool_calls=[call]), 0.0, TOOLS)
    assert [call.name for call in completion.message.tool_calls or ()] == [plain]
    assert completion.flaws == (("repaired",) if name != plain else ())


@pytest.mark.parametrize(
    ("written", "read", "flawed"),
    [
        ('{"a": 1}', '{"a": 1}', False),
        ('{"a":1 }', '{"a":1 }', False),
        ({"a": 1}, '{"a": 1}', False),
        (None, "{}", False),
        ("", "{}", False),
        ('"{\\"a\\": 1}"', '{"a": 1}', True),
        ("{'a': 'ü'}", '{"a": "ü"}', True),
        ('{"a": 1}}', '{"a": 1}', True),
        ('{"a": "x"', '{"a": "x"}', True),
        ('{"a": 1', '{"a": 1', False),  # 1, or the beginning of 12
        ('{"a": "x', '{"a": "x', False),
        ('{"a": ', '{"a": ', False),
        ("[1]", "[1]", False),
        ("none", "none", False),
        ('{"a":' * 5_000, '{"a":' * 5_000, False),
    ],
)
def test_arguments_stay_as_they_are_or_are_repaired_whole(written: Any, read: str, flawed: bool) -> None:
    call = {"id": "c", "function": {"name": "set_note", "arguments": written}}
    completion = parse_completion(said("", tool_calls=[call]), 0.0, TOOLS)
    (found,) = completion.message.tool_calls or ()
    assert found.function.arguments == read
    assert completion.flaws == (("repaired",) if flawed else ())


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("string", "007", "007"),
        ("string", "true", "true"),
        ("integer", "7", 7),
        ("number", "7.5", 7.5),
        ("boolean", "True", True),
        ("array", '["a", 1]', ["a", 1]),
        ("object", '{"a": 1}', {"a": 1}),
        ("integer", "seven", "seven"),
    ],
)
def test_parameters_in_xml_take_their_schemas_type(kind: str, text: str, value: Any) -> None:
    spec = tool("set", [], x=kind)
    content = f"<tool_call>\n<function=set>\n<parameter=x>\n{text}\n</parameter>\n</function>\n</tool_call>"
    (call,) = parse_completion(said(content), 0.0, (spec,)).message.tool_calls or ()
    assert call.parsed() == {"x": value}
    assert type(call.parsed()["x"]) is type(value)


def test_ids_are_kept_or_made_up_without_repeating() -> None:
    calls: list[dict[str, Any]] = [{"function": {"name": "set_note", "arguments": "{}"}} for _ in range(3)]
    calls[1]["id"] = "mine"
    found = parse_completion(said("", tool_calls=calls), 0.0, TOOLS).message.tool_calls or ()
    assert found[1].id == "mine"
    assert Counter(call.id for call in found).most_common(1)[0][1] == 1


@pytest.mark.parametrize(
    "text", ["<tool_call>" * 20_000, "<|message|>" * 20_000, "[TOOL_CALLS][" * 20_000, "<think>" * 50_000]
)
def test_endless_markup_is_read_in_no_time(text: str) -> None:
    assert not parse_completion(said(text), 0.0, TOOLS).message.tool_calls
