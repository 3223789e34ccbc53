"""Messages in the shapes of public data sets: read, or refused by kind; also what they write into an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.messages import AssistantMessage, ContractError, ToolMessage, UserMessage
from generation.start_states.chat_formats import declared_tools, parse_messages
from tests.generation.helpers.chats import PLAIN, call, user

TOOLS = declared_tools([{"name": "weather", "description": "Weather.", "parameters": {"type": "object"}}])


def answer(content: str, **more: Any) -> AssistantMessage:
    raw = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": content, **more}]
    message = parse_messages({"messages": raw}, TOOLS)[1]
    assert isinstance(message, AssistantMessage)
    return message


@pytest.mark.parametrize(
    ("content", "reasoning", "said"),
    [
        ("<think>Look.</think>Hi.", "Look.", "Hi."),
        ("\n<think>\nLook.\n</think>\n\nHi.", "Look.", "Hi."),
        ("<think>\n\n</think>\n\nHi.", None, "Hi."),
        ("Look.\n</think>\n\nHi.", "Look.", "Hi."),
        ("Look.</think> \nHi.", "Look.", "Hi."),
    ],
)
def test_reasoning_is_split_off_where_templates_write_it(content: str, reasoning: str | None, said: str) -> None:
    message = answer(content)
    assert (message.reasoning_content, message.content) == (reasoning, said)


@pytest.mark.parametrize(
    "content",
    [
        "The tag </think> closes a thought.",
        "Good morning <think>who is it</think> Ada!",
        "Good morning\n<think>\nwho is it\n</think>\nAda!",
        "<think>Look.</think>\nHi.</think>\n",
    ],
)
def test_other_tags_of_reasoning_are_markup(content: str) -> None:
    with pytest.raises(ContractError) as refused:
        answer(content)
    assert refused.value.kind == "markup in the text"


CALL = {"name": "weather", "arguments": {"city": "Oslo"}}


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(CALL),
        f"```json\n{json.dumps(CALL)}\n```",
        f"One moment: {json.dumps([CALL])}",
        'Action: weather\nAction Input: {"city": "Oslo"}',
        'I look. [weather(city="Oslo")]',
        '{"temperature": 3}',
    ],
)
def test_calls_and_results_as_text_are_refused(content: str) -> None:
    with pytest.raises(ContractError) as refused:
        answer(content)
    assert refused.value.kind == "call or result as text"


def test_only_an_answer_of_weight_0_is_refused() -> None:
    assert answer("Hi.", weight=1) == answer("Hi.", weight=None)
    with pytest.raises(ContractError) as refused:
        answer("Hi.", weight=0)
    assert refused.value.kind == "weight 0"


@pytest.mark.parametrize(
    "prompt",
    [
        "You help.\n\n# Tools\n\nYou may call one or more functions to help.",
        "[BEGIN OF AVAILABLE TOOLS] weather [END OF AVAILABLE TOOLS]",
        "Given the following functions, answer with a call: weather",
    ],
)
def test_tools_in_a_system_prompt_are_refused(prompt: str) -> None:
    with pytest.raises(ContractError) as refused:
        parse_messages({"messages": [{"role": "system", "content": prompt}]})
    assert refused.value.kind == "tools in the system prompt"


@pytest.mark.parametrize("value", ['"smile \\ud83d"', "1e999", "-Infinity", "[NaN]", '{"\\udc00": 1}'])
@pytest.mark.parametrize("as_text", [True, False])
def test_arguments_that_cannot_be_written_as_json_are_refused(value: str, as_text: bool) -> None:
    arguments: Any = f'{{"city": {value}}}'
    call = {"function": {"name": "weather", "arguments": arguments if as_text else json.loads(arguments)}}
    with pytest.raises(ValueError, match=r"not JSON|unicode"):
        answer("", tool_calls=[call])


THOUGHT, SAID = {"type": "thinking", "thinking": "Look it up."}, {"type": "text", "text": "One moment."}
USED = {"type": "tool_use", "id": "t1", "name": "find", "input": {"id": 3}}
FOUND = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "Ada"}]}
TAGGED = '<tool_call>\n{"name": "find", "arguments": {"id": 3}}\n</tool_call>'


@pytest.mark.parametrize(
    "messages",
    [
        [
            user([{"type": "text", "text": "Find it."}]),
            {"role": "assistant", "content": [THOUGHT, SAID, USED]},
            user([FOUND]),
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "I may not say."}]},
        ],
        [
            user("Find it."),
            {"role": "assistant", "content": [THOUGHT, SAID], "tool_calls": [call("find", {"id": 3}, "t1")]},
            {"role": "tool", "tool_call_id": "t1", "content": [{"type": "text", "text": "Ada"}]},
            {"role": "assistant", "content": None, "refusal": "I may not say."},
        ],
        [
            user("Find it."),
            {"role": "assistant", "content": "One moment.", "thinking": "Look it up."},
            {"role": "tool_call", "content": '{"name": "find", "arguments": {"id": 3}}'},
            {"role": "tool_response", "content": "Ada"},
            {"role": "assistant", "content": "I may not say."},
        ],
        [
            {"from": "human", "value": "Find it."},
            {"from": "gpt", "value": f"<think>\nLook it up.\n</think>\nOne moment.\n{TAGGED}"},
            {"from": "tool", "value": "<tool_response>\nAda\n</tool_response>"},
            {"from": "gpt", "value": "I may not say."},
        ],
        [
            {"from": "human", "value": "Find it."},
            {"from": "gpt", "value": "Look it up.\n</think>\n\nOne moment.\n" + TAGGED.replace('"', "'")},
            {"from": "tool", "value": '<tool_response>\n{"name": "find", "content": "Ada"}\n</tool_response>'},
            {"from": "gpt", "value": "I may not say."},
        ],
    ],
    ids=["Anthropic's blocks", "OpenAI's parts", "roles of their own", "tags", "the prompt opens the thinking"],
)
def test_foreign_shapes_are_read(messages: list[dict[str, Any]]) -> None:
    request, look, found, refused = parse_messages({"messages": messages})
    assert request == UserMessage(content="Find it.")
    assert isinstance(look, AssistantMessage)
    assert (look.reasoning_content, look.content) == ("Look it up.", "One moment.")
    (made,) = look.tool_calls or ()
    assert (made.name, made.parsed()) == ("find", {"id": 3})
    assert found == ToolMessage(tool_call_id=made.id, content="Ada")
    assert refused == AssistantMessage(content="I may not say.")


HELLO = user("Hello.")


@pytest.mark.parametrize(
    ("messages", "kind"),
    [
        ([user([{"type": "image_url", "image_url": {"url": "data:x"}}])], "unknown content"),
        ([user([{"type": "text", "text": None, "parts": ["Hello."]}])], "unknown content"),
        ([user({"question": "Where?"})], "unknown content"),
        ([user(["Hello.", 3])], "unknown content"),
        ([user([THOUGHT])], "unknown content"),
        ([HELLO, {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}]}], "unknown content"),
        ([HELLO, {"role": "assistant", "content": "Hm.", "reasoning": {"steps": []}}], "unknown content"),
        ([*PLAIN[:3], {**PLAIN[3], "content": [{"type": "image", "data": "x"}]}], "unknown content"),
        ([*PLAIN[:3], {**PLAIN[3], "content": "<tool_response>3</tool_response> Done."}], "unknown content"),
        ([HELLO, {"role": "assistant", "content": '<functioncall> {"name": "find"}'}], "markup in the text"),
        ([HELLO, {"role": "assistant", "content": "<tool_call>find it</tool_call>"}], "markup in the text"),
        ([HELLO, {"role": "assistant", "content": '[Find Person(name="Ada"), stop()]'}], "markup in the text"),
        ([{"role": "system", "content": "Use these: <tools>[]</tools>"}], "tools in the system prompt"),
        (
            [{"role": "system", "content": "A list of functions in JSON format that you can invoke:\n[]"}],
            "tools in the system prompt",
        ),
    ],
)
def test_shapes_that_are_not_known_are_refused_by_kind(messages: list[dict[str, Any]], kind: str) -> None:
    with pytest.raises(ContractError) as refused:
        parse_messages({"messages": messages})
    assert refused.value.kind == kind


@pytest.mark.parametrize("line", [{"chat": "USER: Hello."}, {"query": "Where?", "answers": "[]", "tools": "[]"}])
def test_conversations_under_other_keys_are_refused(line: dict[str, Any]) -> None:
    with pytest.raises(ContractError, match="is not read; expected: a list of messages"):
        parse_messages(line)


def test_an_answer_may_look_a_little_like_a_call() -> None:
    for text in ("[see section (2)]", "[Ada](https://ada.example)", "f(x=1)"):
        assert parse_messages({"messages": [HELLO, {"role": "assistant", "content": text}]})[1].content == text
