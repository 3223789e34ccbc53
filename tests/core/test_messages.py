from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import TypeAdapter, ValidationError

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
from tests.core.helpers.transcripts import GET, MESSAGES, RENAME

TOOLS = (GET, RENAME)
TRANSCRIPT: TypeAdapter[tuple[Message, ...]] = TypeAdapter(tuple[Message, ...])


def test_the_wire_form_is_what_the_openai_client_types_describe() -> None:
    for message in MESSAGES:
        TypeAdapter(ChatCompletionMessageParam).validate_python(message.model_dump(exclude_none=True))
    for tool in TOOLS:
        TypeAdapter(ChatCompletionToolParam).validate_python(tool.openai())
        assert "returns" not in tool.openai()["function"]


def test_messages_survive_a_round_trip_through_json() -> None:
    assert TRANSCRIPT.validate_json(TRANSCRIPT.dump_json(MESSAGES, exclude_none=True)) == MESSAGES


@pytest.mark.parametrize(
    "wrong",
    [
        {"role": "developer", "content": "x"},
        {"role": "user", "content": "x", "name": "unknown field"},
        {"role": "tool", "content": "no id"},
        {"role": "user"},
    ],
)
def test_a_wrong_message_cannot_be_built(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        TRANSCRIPT.validate_python([wrong])


@pytest.mark.parametrize("name", ["", "two words", "9lives", "a-b", "x" * 65, "__import__('os').getcwd"])
def test_a_tool_name_is_an_identifier(name: str) -> None:
    with pytest.raises(ValidationError):
        ToolSpec(name=name, description="", parameters={"type": "object"})


def test_a_tool_needs_real_json_schemas() -> None:
    with pytest.raises(ValidationError, match="not a JSON Schema"):
        ToolSpec(name="t", description="", parameters={"type": "objekt"})
    with pytest.raises(ValidationError, match="not a JSON Schema"):
        ToolSpec(name="t", description="", parameters={"type": "object"}, returns={"type": 3})


def test_argument_errors_name_the_argument() -> None:
    assert GET.argument_error({"member_id": 3}) is None
    assert GET.argument_error({}) == "'member_id' is a required property"
    assert GET.argument_error({"member_id": "3"}) == "member_id: '3' is not of type 'integer'"
    assert "'x' was unexpected" in str(GET.argument_error({"member_id": 3, "x": 1}))
    assert "is not of type 'object'" in str(GET.argument_error([3]))


@pytest.mark.parametrize(
    "arguments", ["", "{", "[]", "3", "null", '"{}"', '{"member_id": NaN}', '{"name": "\\ud83d"}', '{"\\udc00": 1}']
)
def test_arguments_that_are_not_an_object_are_stored_but_not_parsed(arguments: str) -> None:
    call = ToolCall(id="c", function=FunctionCall(name="get_member", arguments=arguments))
    assert call.function.arguments == arguments
    with pytest.raises(ContractError, match="get_member"):
        call.parsed()


def test_arguments_keep_their_characters() -> None:
    call = ToolCall.make("c", "t", {"name": "Zoë 北京"})
    assert "Zoë 北京" in call.function.arguments
    assert json.loads(call.function.arguments) == call.parsed() == {"name": "Zoë 北京"}


SYSTEM, USER, CALLS, SECOND, FIRST, CALL, DONE, ANSWER, BYE = MESSAGES


def test_a_valid_transcript_and_its_valid_prefixes_pass() -> None:
    check_transcript(MESSAGES, TOOLS)
    check_transcript(MESSAGES[:-1], TOOLS)
    check_transcript(MESSAGES[1:], TOOLS)
    check_transcript((*MESSAGES, ANSWER), TOOLS)


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ((), "a dialogue ends with"),
        ((SYSTEM,), "a dialogue ends with"),
        ((USER, USER), "after 'user'"),
        ((SYSTEM, SYSTEM, USER), "after 'system'"),
        ((USER, SYSTEM), "after 'user'"),
        ((SYSTEM, ANSWER), "after 'system'"),
        ((ANSWER,), "after 'start'"),
        ((USER, ANSWER, ANSWER), "after 'assistant'"),
        ((USER, CALLS, FIRST), "have no answer"),
        ((USER, CALLS, FIRST, ANSWER), "have no answer"),
        ((USER, CALLS, ANSWER), "have no answer"),
        ((USER, CALLS, FIRST, SECOND), "a dialogue ends with"),
        ((USER, CALLS, FIRST, SECOND, USER), "after 'tool'"),
        ((USER, CALLS, FIRST, FIRST), "answers 'c1', but the open calls are"),
        ((USER, FIRST), "answers 'c1'"),
        ((USER, CALLS, FIRST, SECOND, CALLS, FIRST, SECOND, ANSWER), "was used before"),
        ((USER, AssistantMessage()), "neither content nor tool calls"),
        ((USER, AssistantMessage(content=" \n")), "neither content nor tool calls"),
        ((USER, AssistantMessage(reasoning_content="only thought")), "neither content nor tool calls"),
        (
            (
                USER,
                AssistantMessage(tool_calls=(ToolCall.make("c", "nope", {}),)),
                ToolMessage(tool_call_id="c", content=""),
            ),
            "undeclared tool 'nope'",
        ),
        (
            (USER, AssistantMessage(tool_calls=(ToolCall.make("c", "get_member", {"member_id": "3"}),))),
            "do not fit its schema",
        ),
        (
            (USER, AssistantMessage(tool_calls=(ToolCall.make("c", "get_member", {"member_id": 3}),) * 2)),
            "was used before",
        ),
    ],
)
def test_each_invalid_transcript_is_refused_with_its_reason(messages: tuple[Message, ...], problem: str) -> None:
    with pytest.raises(ContractError, match=problem):
        check_transcript(messages, TOOLS)


LATE = (SYSTEM, USER, ANSWER, UserMessage(content="Rename member 3."), CALL, DONE, ANSWER)


@pytest.mark.parametrize("position", [1, 3])
def test_a_late_tool_may_be_called_from_its_user_message_on(position: int) -> None:
    check_transcript(LATE, TOOLS, {"rename_member": position})
    check_transcript(LATE[1:], TOOLS, {"rename_member": position - 1})


@pytest.mark.parametrize(
    ("late_tools", "kind", "problem"),
    [
        ({"get_member": 3, "rename_member": 7}, "tool not offered yet", "message 4 .*offered from message 7 on"),
        ({"rename_member": 2}, "late tools", "message 2 on, which is not a user message"),
        ({"rename_member": 8}, "late tools", "message 8 on, which is not a user message"),
        ({"rename_member": -1}, "late tools", "message -1 on"),
        ({"rename_member": True}, "late tools", "message True on"),
        ({"rename_member": "3"}, "late tools", "message '3' on"),
        ({"nope": 3}, "late tools", "'nope' is not declared"),
    ],
)
def test_a_late_tool_called_early_or_offered_at_no_user_message_is_refused(
    late_tools: dict[str, Any], kind: str, problem: str
) -> None:
    messages = (*LATE, UserMessage(content="Thanks."))
    with pytest.raises(ContractError, match=problem) as caught:
        check_transcript(messages, TOOLS, late_tools)
    assert caught.value.kind == kind


def test_messages_are_immutable() -> None:
    message = UserMessage(content="x")
    with pytest.raises(ValidationError, match="frozen"):
        message.content = "y"
    assert SystemMessage(content="x") == SystemMessage(content="x")
