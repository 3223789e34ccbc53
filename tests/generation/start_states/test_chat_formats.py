"""External conversations become valid ones, or are refused with the reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.messages import AssistantMessage, ContractError, ToolMessage, UserMessage, check_transcript
from generation.start_states.chat_formats import complete_tools, declared_tools, parse_conversation, parse_messages
from tests.generation.helpers.chats import PLAIN, call, user


def test_a_plain_conversation_is_unchanged() -> None:
    messages = parse_messages({"messages": PLAIN})
    assert [m.role for m in messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert messages[3].content == '{"id": 3, "name": "Ada"}'
    (spec,) = complete_tools((), messages)
    assert spec.name == "find"
    assert spec.parameters == {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
    check_transcript(messages, [spec])


@pytest.mark.parametrize(
    "variant",
    [
        {"traj": PLAIN},
        {"messages": json.dumps(PLAIN)},
        {"messages": [{**m, "role": {"system": "developer"}.get(m["role"], m["role"])} for m in PLAIN]},
        {"messages": [{**m, "content": [{"type": "text", "text": m["content"] or ""}]} for m in PLAIN]},
        {"messages": [*PLAIN[:2], {**PLAIN[2], "tool_calls": [call("functions.find", {"id": 3})]}, *PLAIN[3:]]},
        {
            "messages": [
                *PLAIN[:2],
                {**PLAIN[2], "content": ""},
                {"role": "tool", "content": PLAIN[3]["content"]},
                PLAIN[4],
            ]
        },
        {
            "messages": [
                *PLAIN[:2],
                {"role": "assistant", "content": "", "function_call": {"name": "find", "arguments": '{"id": 3}'}},
                {"role": "function", "name": "find", "content": PLAIN[3]["content"]},
                PLAIN[4],
            ]
        },
        {"messages": [*PLAIN, user("Thanks. ###STOP###")]},
        {"messages": [*PLAIN, user(), {"role": "assistant", "tool_calls": [call("find", "{}")]}]},
    ],
)
def test_the_usual_variants_parse_alike(variant: dict[str, Any]) -> None:
    assert parse_messages(variant) == parse_messages({"messages": PLAIN})


def test_consecutive_messages_of_one_role_are_joined() -> None:
    messages = parse_messages(
        {
            "messages": [
                user("Hello."),
                user("Find it."),
                {"role": "assistant", "content": "I look."},
                {"role": "assistant", "content": "", "tool_calls": [call("find", "{}")]},
                {"role": "tool", "tool_call_id": "x", "content": "3"},
                {"role": "assistant", "content": "3"},
            ]
        }
    )
    assert messages[0] == UserMessage(content="Hello.\n\nFind it.")
    assert isinstance(messages[1], AssistantMessage)
    assert messages[1].content == "I look."
    assert messages[1].tool_calls
    check_transcript(messages, complete_tools((), messages))


def test_results_match_their_calls_by_id_and_ids_become_unique() -> None:
    two = {"role": "assistant", "content": "", "tool_calls": [call("a", "{}", "1"), call("b", "{}", "2")]}
    answers = [{"role": "tool", "tool_call_id": key, "content": key} for key in ("2", "1")]
    messages = parse_messages({"messages": [user(), two, *answers, PLAIN[4], user(), two, *answers, PLAIN[4]]})
    calls = [c for m in messages if isinstance(m, AssistantMessage) for c in m.tool_calls or ()]
    results = {m.tool_call_id: m.content for m in messages if isinstance(m, ToolMessage)}
    assert len(results) == len(calls) == 4
    assert [results[c.id] for c in calls] == ["1", "2", "1", "2"]


def test_specs_are_inferred_from_all_calls_of_a_tool() -> None:
    arguments = [{"id": 3, "deep": {"a": [1]}}, {"id": "x", "note": None}]
    turns = [
        [
            user(),
            {"role": "assistant", "tool_calls": [call("find", json.dumps(call_arguments))]},
            {"role": "tool", "content": "1"},
            PLAIN[4],
        ]
        for call_arguments in arguments
    ]
    messages = parse_messages({"messages": [message for turn in turns for message in turn]})
    declared = {
        "type": "function",
        "function": {"name": "other", "description": "Other.", "parameters": {"type": "object"}},
    }
    other, find = complete_tools(declared_tools([declared]), messages)
    assert other.name == "other"
    assert find.parameters["properties"] == {
        "id": {"type": ["integer", "string"]},
        "deep": {"type": "object"},
        "note": {"type": "null"},
    }
    assert find.parameters["required"] == ["id"]
    assert all(find.argument_error(call_arguments) is None for call_arguments in arguments)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ({"messages": 3}, "not a list of messages"),
        ({"messages": ["Hello"]}, "not a list of messages"),
        ({"messages": "[{"}, "Expecting"),
        ({"messages": [{"role": "critic", "content": "x"}]}, "unexpected role 'critic'"),
        ({"messages": [user(), {"role": "system", "content": "x"}]}, "unexpected role 'system'"),
        ({"messages": [user(), {"role": "tool", "content": "x"}]}, "a tool result without a call"),
        ({"messages": [user(), {"role": "assistant", "tool_calls": [call("f", "{x")]}]}, "not JSON"),
        (
            {"messages": [user(), {"role": "assistant", "tool_calls": {"id": "x"}}]},
            "message 1: the tool calls are not a list",
        ),
        ({"messages": [user(), {"role": "assistant", "tool_calls": ["find"]}]}, "message 1: call 0 names no function"),
        ({"messages": [user(), {"role": "assistant", "tool_calls": [{"function": None}]}]}, "call 0 names no function"),
    ],
)
def test_an_invalid_conversation_is_refused_with_the_reason(raw: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_messages(raw)


def test_calls_that_break_the_declared_tools_are_refused() -> None:
    messages = parse_messages({"messages": PLAIN})
    parameters = {"type": "object", "properties": {"id": {"type": "string"}}}
    with pytest.raises(ContractError, match="arguments of find do not fit"):
        complete_tools(declared_tools([{"name": "find", "description": "Find.", "parameters": parameters}]), messages)
    unanswered = parse_messages({"messages": [*PLAIN[:3], PLAIN[4]]})
    with pytest.raises(ContractError, match="have no answer"):
        complete_tools((), unanswered)


def test_a_greeting_before_the_first_request_is_dropped() -> None:
    greeting = {"role": "assistant", "content": "Hi! How can I help you today?"}
    assert parse_messages({"messages": [PLAIN[0], greeting, *PLAIN[1:]]}) == parse_messages({"messages": PLAIN})
    assert parse_messages({"messages": [greeting, *PLAIN[1:]]}) == parse_messages({"messages": PLAIN[1:]})
    acting = {"role": "assistant", "tool_calls": [call("find", "{}")]}
    with pytest.raises(ContractError, match=r"message 0 \(assistant\)"):
        complete_tools((), parse_messages({"messages": [acting, {"role": "tool", "content": "3"}, *PLAIN[1:]]}))


def test_a_system_message_alone_is_a_valid_start() -> None:
    (system,) = parse_messages({"messages": PLAIN[:2]})
    assert system.content == "Be kind."
    assert complete_tools((), (system,)) == ()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"id": 3, "name": "Ádá"}, '{"id": 3, "name": "Ádá"}'),
        ([{"id": 3}], '[{"id": 3}]'),
        (0, "0"),
        (False, "false"),
        ([{"type": "text", "text": "a", "image": None}, {"type": "text", "text": "b"}], "a\nb"),
        ([{"type": "text", "name": "a column"}], '[{"type": "text", "name": "a column"}]'),
    ],
)
def test_results_that_are_json_values_become_text(content: Any, text: str) -> None:
    assert parse_messages({"messages": [*PLAIN[:3], {**PLAIN[3], "content": content}, PLAIN[4]]})[3].content == text


NULLABLE = {"type": ["string", "null"]}


@pytest.mark.parametrize(
    ("parameters", "given", "kept"),
    [
        ({"properties": {"id": {}}}, {"id": 3, "city": None}, {"id": 3}),
        ({"properties": {"day": NULLABLE}}, {"day": None}, {}),
        ({"properties": {"day": NULLABLE}, "required": ["day"]}, {"day": None, "x": None}, {"day": None}),
        (
            {"properties": {"at": {"$ref": "#/$defs/at"}}, "$defs": {"at": {"properties": {"day": NULLABLE}}}},
            {"at": {"day": None, "hour": 3}},
            {"at": {"hour": 3}},
        ),
        (
            {"properties": {"all": {"items": {"properties": {"a": NULLABLE}, "required": ["a"]}}}},
            {"all": [{"a": None, "b": None}, None]},
            {"all": [{"a": None}, None]},
        ),
        ({}, {"opts": {"a": 1, "b": None}}, {"opts": {"a": 1}}),
    ],
)
def test_nulls_that_pad_arguments_to_the_keys_of_other_calls_are_removed(
    parameters: dict[str, Any], given: dict[str, Any], kept: dict[str, Any]
) -> None:
    tools = declared_tools([{"name": "find", "parameters": {"type": "object", **parameters}}])
    messages = [*PLAIN[:2], {**PLAIN[2], "tool_calls": [call("find", given)]}, *PLAIN[3:]]
    parsed = parse_conversation({"messages": messages}, tools, columnar=True)
    look = parsed.messages[2]
    assert isinstance(look, AssistantMessage)
    assert look.tool_calls
    assert look.tool_calls[0].parsed() == kept
    assert parsed.repaired == {"padding removed": 1}


def test_a_null_that_was_written_as_json_stays() -> None:
    messages = [*PLAIN[:2], {**PLAIN[2], "tool_calls": [call("find", '{"day": null}')]}, *PLAIN[3:]]
    look = parse_messages({"messages": messages})[2]
    assert isinstance(look, AssistantMessage)
    assert look.tool_calls
    assert look.tool_calls[0].parsed() == {"day": None}


def result(content: str, **more: str) -> dict[str, Any]:
    return {"role": "tool", "content": content, **more}


def answered(calls: list[dict[str, Any]], *results: dict[str, Any]) -> dict[str, str]:
    """Tool -> its result."""
    messages = parse_messages({"messages": [user(), {"role": "assistant", "tool_calls": calls}, *results, PLAIN[4]]})
    look = messages[1]
    assert isinstance(look, AssistantMessage)
    contents = {m.tool_call_id: m.content for m in messages if isinstance(m, ToolMessage)}
    return {made.name: contents[made.id] for made in look.tool_calls or ()}


def test_results_without_ids_match_their_calls_by_name_and_else_by_order() -> None:
    calls: list[dict[str, Any]] = [{"name": "a.b", "arguments": {}}, {"name": "c", "arguments": {}}]
    assert answered(calls, result("C", name="c"), result("AB", name="a.b")) == {"a_b": "AB", "c": "C"}
    assert answered(calls, result("AB"), result("C")) == {"a_b": "AB", "c": "C"}
    assert answered(calls, result("AB", tool_call_id="7"), result("C", tool_call_id="8")) == {"a_b": "AB", "c": "C"}


@pytest.mark.parametrize(
    ("results", "kind"),
    [
        ([result("A", tool_call_id="other")], "stray result"),
        ([result("A", name="other")], "stray result"),
        ([result("A", tool_call_id="1", name="b")], "stray result"),
        ([result("A", tool_call_id="1"), result("B", tool_call_id="1")], "stray result"),
    ],
)
def test_results_that_contradict_the_calls_are_refused(results: list[dict[str, Any]], kind: str) -> None:
    with pytest.raises(ContractError) as refused:
        answered([call("a", "{}", "1"), call("b", "{}", "2")], *results)
    assert refused.value.kind == kind


def test_two_calls_with_one_id_are_refused() -> None:
    with pytest.raises(ContractError, match="two calls have the id '1'"):
        answered([call("a", "{}", "1"), call("b", "{}", "1")], result("A", tool_call_id="1"))


def test_two_tools_whose_names_become_one_are_refused() -> None:
    same = {"name": "find.it", "description": "Find.", "parameters": {"type": "object"}}
    assert len(declared_tools([same, same])) == 1
    with pytest.raises(ContractError, match="two different tools have the name find_it"):
        declared_tools([same, {**same, "name": "find it", "description": "Find another one."}])


def test_tasks_alone_are_an_empty_conversation() -> None:
    assert parse_messages({"tasks": ["Find Ada."]}) == ()
