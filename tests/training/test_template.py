"""The chat format of the built model, against hand-written texts in the format of Qwen3-Thinking-2507."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

USER = {"role": "user", "content": "Hi"}
CALL = {"type": "function", "id": "a", "function": {"name": "get_shop", "arguments": {"id": 7, "who": "Zoë"}}}
OTHER = {"type": "function", "id": "b", "function": {"name": "get_club", "arguments": {}}}
CALL_TEXT = '<tool_call>\n{"name": "get_shop", "arguments": {"id": 7, "who": "Zoë"}}\n</tool_call>'
OTHER_TEXT = '<tool_call>\n{"name": "get_club", "arguments": {}}\n</tool_call>'


def rendered(tokenizer: PreTrainedTokenizerFast, messages: list[dict[str, Any]], **options: Any) -> str:
    text = tokenizer.apply_chat_template(messages, tokenize=False, **options)
    assert isinstance(text, str)
    return text


def test_the_generation_prompt_opens_the_thinking(tokenizer: PreTrainedTokenizerFast) -> None:
    messages = [{"role": "system", "content": "Be kind."}, USER]
    assert rendered(tokenizer, messages, add_generation_prompt=True) == (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n"
    )


def test_thinking_can_be_switched_off(tokenizer: PreTrainedTokenizerFast) -> None:
    """As Qwen3's hybrid models do it."""
    for value, thought in ((False, "<think>\n\n</think>\n\n"), (True, "<think>\n")):
        prompt = rendered(tokenizer, [USER], add_generation_prompt=True, enable_thinking=value)
        assert prompt == f"<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n{thought}"


def test_reasoning_of_earlier_turns_can_be_kept(tokenizer: PreTrainedTokenizerFast) -> None:
    answer, silent = (
        {"role": "assistant", "content": "Hello."} | more for more in ({"reasoning_content": "Greet."}, {})
    )
    assert rendered(tokenizer, [USER, answer, USER, silent, USER, answer], preserve_thinking=True) == (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\nGreet.\n</think>\n\nHello.<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\nGreet.\n</think>\n\nHello.<|im_end|>\n"
    )


@pytest.mark.parametrize("system", [True, False])
def test_tools_are_in_the_system_turn(tokenizer: PreTrainedTokenizerFast, system: bool) -> None:
    tool = {"type": "function", "function": {"name": "get_shop", "description": "Größe", "parameters": {}}}
    messages = [*([{"role": "system", "content": "Be kind."}] if system else []), USER]
    assert rendered(tokenizer, messages, tools=[tool, tool]) == (
        "<|im_start|>system\n" + ("Be kind.\n\n" if system else "") + "# Tools\n\n"
        "You may call one or more functions to assist with the user query.\n\n"
        "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n"
        '{"type": "function", "function": {"name": "get_shop", "description": "Größe", "parameters": {}}}\n'
        '{"type": "function", "function": {"name": "get_shop", "description": "Größe", "parameters": {}}}\n'
        "</tools>\n\nFor each function call, return a json object with function name and arguments within "
        '<tool_call></tool_call> XML tags:\n<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n'
        "</tool_call><|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    )


def test_reasoning_stays_only_after_the_last_question(tokenizer: PreTrainedTokenizerFast) -> None:
    answer = {"role": "assistant", "reasoning_content": "\nGreet.\n", "content": "\nHello."}
    assert rendered(tokenizer, [USER, answer, USER, answer]) == (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n\nHello.<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\nGreet.\n</think>\n\nHello.<|im_end|>\n"
    )


def test_reasoning_within_the_content_is_found(tokenizer: PreTrainedTokenizerFast) -> None:
    answer = {"role": "assistant", "content": "<think>\nGreet.\n</think>\n\nHello."}
    assert rendered(tokenizer, [USER, answer]).endswith("assistant\n<think>\nGreet.\n</think>\n\nHello.<|im_end|>\n")
    assert rendered(tokenizer, [USER, answer, USER]).startswith(
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n"
    )


def test_calls_and_results_of_one_question(tokenizer: PreTrainedTokenizerFast) -> None:
    messages = [
        USER,
        {"role": "assistant", "reasoning_content": "Both.", "content": "Wait.", "tool_calls": [CALL, OTHER]},
        {"role": "tool", "tool_call_id": "a", "content": '{"price": 9.5}'},
        {"role": "tool", "tool_call_id": "b", "content": "[]"},
        {"role": "assistant", "reasoning_content": "Once more.", "content": "", "tool_calls": [OTHER]},
        {"role": "tool", "tool_call_id": "b", "content": "[]"},
    ]
    assert rendered(tokenizer, messages, add_generation_prompt=True) == (
        "<|im_start|>user\nHi<|im_end|>\n"
        f"<|im_start|>assistant\n<think>\nBoth.\n</think>\n\nWait.\n{CALL_TEXT}\n{OTHER_TEXT}<|im_end|>\n"
        '<|im_start|>user\n<tool_response>\n{"price": 9.5}\n</tool_response>\n'
        "<tool_response>\n[]\n</tool_response><|im_end|>\n"
        f"<|im_start|>assistant\n<think>\nOnce more.\n</think>\n\n{OTHER_TEXT}<|im_end|>\n"
        "<|im_start|>user\n<tool_response>\n[]\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n<think>\n"
    )


def test_without_reasoning_only_the_last_answer_has_a_think_block(tokenizer: PreTrainedTokenizerFast) -> None:
    silent = {"role": "assistant", "content": "", "tool_calls": [CALL]}
    last = {"role": "assistant", "content": "Done."}
    assert rendered(tokenizer, [USER, silent, {"role": "tool", "tool_call_id": "a", "content": "1"}, last]) == (
        f"<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n{CALL_TEXT}<|im_end|>\n"
        "<|im_start|>user\n<tool_response>\n1\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\nDone.<|im_end|>\n"
    )


def test_a_wrapped_tool_result_is_not_a_question(tokenizer: PreTrainedTokenizerFast) -> None:
    answer = {"role": "assistant", "reasoning_content": "Look.", "content": "Wait."}
    result = {"role": "user", "content": "<tool_response>\n1\n</tool_response>"}
    assert "<think>\nLook.\n</think>" in rendered(tokenizer, [USER, answer, result, answer, result])


def test_a_later_system_message_and_arguments_as_text(tokenizer: PreTrainedTokenizerFast) -> None:
    call = {"function": {"name": "get_shop", "arguments": '{"id":7}'}}
    messages = [USER, {"role": "system", "content": "Hurry."}, {"role": "assistant", "tool_calls": [call]}]
    assert rendered(tokenizer, messages) == (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>system\nHurry.<|im_end|>\n<|im_start|>assistant\n"
        '<think>\n\n</think>\n\n<tool_call>\n{"name": "get_shop", "arguments": {"id":7}}\n</tool_call><|im_end|>\n'
    )
