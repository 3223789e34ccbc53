"""Replies of several model families, intact and broken in every way, are parsed as intended."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from core.messages import ToolCall, ToolSpec
from generation.dialogue.agent import check_answer
from generation.llm.parsing.completion import parse_completion, parse_models
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
    case = json.loads((ANSWERS / f"{name}.json").read_text())
    return case["body"], case["expected"]


def arguments(call: ToolCall) -> Any:
    """The arguments as an object if they are one, else as written."""
    try:
        return call.parsed()
    except ValueError:
        return call.function.arguments


NAMES = sorted(path.stem for path in ANSWERS.glob("*.json"))


def test_the_golden_replies_cover_every_family_broken_in_every_way() -> None:
    assert not [f"{family}_{way}" for family in FAMILIES for way in BREAKS if f"{family}_{way}" not in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_a_reply_is_parsed_as_intended(name: str) -> None:
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
        usable = completion.finish_reason != "length"  # Meter.request accepts no truncated answer
    except ValueError:
        usable = False
    assert usable is expected["usable"], "whether an agent may answer this in a dialogue"
    assert not usable or markup(message.content) is None


@pytest.mark.parametrize("name", NAMES)
def test_replies_to_requests_without_tools_never_contain_calls(name: str) -> None:
    body, _ = golden(name)
    if not body["choices"][0]["message"].get("tool_calls"):
        assert parse_completion(body, 0.0).message.tool_calls is None


def test_without_tools_the_answer_is_complete_whatever_its_recipient() -> None:
    body, _ = golden("gpt_oss_leaked_call")
    completion = parse_completion(body, 0.0)
    assert completion.message.content == '{"member_id":7}'
    assert completion.message.reasoning_content == "User asks about member 7. Use get_member."


def body_of(content: str, **more: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": content, **more}}]}


def test_usage_that_the_server_leaves_out_is_unknown() -> None:
    assert parse_completion(body_of("Hello."), 0.0).completion_tokens is None
    counted = body_of("Hello.") | {"usage": {"prompt_tokens": 5, "completion_tokens": 2}}
    completion = parse_completion(counted, 0.0)
    assert (completion.prompt_tokens, completion.cached_tokens, completion.completion_tokens) == (5, 0, 2)


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
def test_names_become_those_of_tools(name: str, plain: str) -> None:
    call = {"id": "c", "function": {"name": name, "arguments": "{}"}}
    completion = parse_completion(body_of("", tool_calls=[call]), 0.0, TOOLS)
    assert [call.name for call in completion.message.tool_calls or ()] == [plain]
    assert completion.flaws == (("repaired",) if name != plain else ())


@pytest.mark.parametrize(
    ("written", "parsed", "flawed"),
    [
        ('{"a": 1}', '{"a": 1}', False),
        ('{"a":1 }', '{"a":1 }', False),
        ({"a": 1}, '{"a": 1}', False),
        ({"a": "Malmö"}, '{"a": "Malmö"}', False),
        (None, "{}", False),
        ("", "{}", False),
        ('"{\\"a\\": 1}"', '{"a": 1}', True),
        ("{'a': 'ü'}", '{"a": "ü"}', True),
        ('{"a": 1}}', '{"a": 1}', True),
        ('{"a": "x"', '{"a": "x"}', True),
        ('{"a": 1', '{"a": 1', False),  # 1, or the start of 12
        ('{"a": "x', '{"a": "x', False),
        ('{"a": ', '{"a": ', False),
        ("[1]", "[1]", False),
        ("none", "none", False),
        ('{"a":' * 5_000, '{"a":' * 5_000, False),
    ],
)
def test_arguments_stay_unchanged_or_are_repaired_completely(written: Any, parsed: str, flawed: bool) -> None:
    call = {"id": "c", "function": {"name": "set_note", "arguments": written}}
    completion = parse_completion(body_of("", tool_calls=[call]), 0.0, TOOLS)
    (parsed_call,) = completion.message.tool_calls or ()
    assert parsed_call.function.arguments == parsed
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
def test_xml_parameters_take_the_type_of_their_schema(kind: str, text: str, value: Any) -> None:
    spec = tool("set", [], x=kind)
    content = f"<tool_call>\n<function=set>\n<parameter=x>\n{text}\n</parameter>\n</function>\n</tool_call>"
    (call,) = parse_completion(body_of(content), 0.0, (spec,)).message.tool_calls or ()
    assert call.parsed() == {"x": value}
    assert type(call.parsed()["x"]) is type(value)


THOUGHT_CALL = '<tool_call>\n{"name": "get_member", "arguments": {"member_id": 3}}\n</tool_call>'


@pytest.mark.parametrize(
    ("content", "called"),
    [
        ("You are member 3.", None),
        ('<tool_call>\n{"name": "set_note", "arguments": {"text": "x"}}\n</tool_call>', "set_note"),
        ("", "get_member"),
    ],
)
def test_a_call_that_ends_the_thinking_counts_only_without_an_answer(content: str, called: str | None) -> None:
    body = body_of(content, reasoning_content=f"I could look it up. {THOUGHT_CALL}")
    message = parse_completion(body, 0.0, TOOLS).message
    assert [call.name for call in message.tool_calls or ()] == ([called] if called else [])
    assert (THOUGHT_CALL in (message.reasoning_content or "")) == (called != "get_member")


def test_ids_are_kept_or_generated_without_repetition() -> None:
    calls: list[dict[str, Any]] = [{"function": {"name": "set_note", "arguments": "{}"}} for _ in range(3)]
    calls[1]["id"] = "mine"
    parsed = parse_completion(body_of("", tool_calls=calls), 0.0, TOOLS).message.tool_calls or ()
    assert parsed[1].id == "mine"
    assert Counter(call.id for call in parsed).most_common(1)[0][1] == 1


@pytest.mark.parametrize(
    "text", ["<tool_call>" * 20_000, "<|message|>" * 20_000, "[TOOL_CALLS][" * 20_000, "<think>" * 50_000]
)
def test_endless_markup_is_parsed_quickly(text: str) -> None:
    assert not parse_completion(body_of(text), 0.0, TOOLS).message.tool_calls


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 12, "completion_tokens": 3}, (12, 3, 0)),
        ({"prompt_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": None}, (12, 3, 0)),
        ({"prompt_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": {}}, (12, 3, 0)),
        ({"prompt_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": None}}, (12, 3, 0)),
        ({"prompt_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 8}}, (12, 3, 8)),
    ],
)
def test_usage_without_details_has_no_cached_tokens(usage: dict[str, Any], tokens: tuple[int, int, int]) -> None:
    body = {"choices": [{"message": {"content": "Hello."}, "finish_reason": "stop"}], "usage": usage}
    completion = parse_completion(body, 0.1, TOOLS)
    assert (completion.prompt_tokens, completion.completion_tokens, completion.cached_tokens) == tokens


@pytest.mark.parametrize(
    "body", [[], None, {}, {"data": None}, {"data": [{}]}, {"data": ["m"]}, {"data": [{"id": 1}, 2]}]
)
def test_what_is_no_list_of_models_is_refused_with_its_text(body: Any) -> None:
    with pytest.raises(ValueError, match="not a list of models"):
        parse_models(body, 0.1)


def test_models_may_say_their_context() -> None:
    body = {"data": [{"id": "a", "max_model_len": 4096}, {"id": "b"}]}
    assert parse_models(body, 0.1) == {"a": 4096, "b": None}
