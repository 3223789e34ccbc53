"""What public data sets write into an answer: reasoning, calls as text, and answers that are not to be trained."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.messages import AssistantMessage, ContractError
from generation.start_states.chat_formats import declared_tools, parse_messages

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
