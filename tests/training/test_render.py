"""Rendered samples against the chat template that a server applies."""

from __future__ import annotations

from copy import deepcopy
from itertools import groupby
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from core.dialogue import Dialogue
from core.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, UserMessage
from tests.training.helpers.dialogues import dialogue
from training.render import RenderError, Sample, render, template_messages

ANY_LENGTH = 1 << 20
PLAIN_TEMPLATE = (
    "{% for m in messages %}{{ m.role ~ '\\n' ~ m.content ~ (m.tool_calls or '') ~ '<|im_end|>' }}{% endfor %}"
    "{{ 'assistant\\n' if add_generation_prompt }}"
)
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("C",)), max_size=20)
TEXTS = st.tuples(st.sampled_from("AÄ9€"), WORDS).map("".join)


def answer(message: AssistantMessage) -> str:
    """The text that the model writes after the generation prompt, built without the template."""
    calls = [
        f'<tool_call>\n{{"name": "{c.name}", "arguments": {c.function.arguments}}}\n</tool_call>'
        for c in message.tool_calls or ()
    ]
    written = "\n".join([*([message.content] if message.content else []), *calls])
    return f"{message.reasoning_content or ''}\n</think>\n\n{written}<|im_end|>"


def trained_text(sample: Sample, tokenizer: PreTrainedTokenizerFast) -> str:
    return tokenizer.decode([sample.input_ids[p] for p in sample.trained])


@st.composite
def dialogues(
    draw: st.DrawFn, reasoning: st.SearchStrategy[str | None], text: st.SearchStrategy[str] = TEXTS
) -> Dialogue:
    """Any valid transcript: calls with or without text, parallel calls, direct answers, unusual characters."""
    template = dialogue(0)
    messages: list[Message] = [SystemMessage(content=draw(WORDS))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        messages.append(UserMessage(content=draw(TEXTS)))
        for _ in range(draw(st.integers(0, 2))):
            calls = tuple(
                ToolCall.make(f"{len(messages)}-{n}", "get_shop", {"record_id": n, "note": draw(WORDS)})
                for n in range(draw(st.integers(1, 2)))
            )
            content = draw(st.one_of(st.just(""), text))
            messages.append(AssistantMessage(content=content, reasoning_content=draw(reasoning), tool_calls=calls))
            messages += [ToolMessage(tool_call_id=call.id, content=draw(WORDS)) for call in calls]
        messages.append(AssistantMessage(content=draw(text), reasoning_content=draw(reasoning)))
    source = template.model_copy(update={"messages": tuple(messages)})
    source.check()
    return source


@settings(max_examples=60, deadline=None)
@given(source=dialogues(TEXTS))
def test_one_sample_per_turn_equals_the_template_and_trains_every_answer_once(
    tokenizer: PreTrainedTokenizerFast, source: Dialogue
) -> None:
    rendering = render(source, tokenizer, ANY_LENGTH)
    assert [sample.turn for sample in rendering.samples] == list(range(source.user_turns))
    assert rendering.cut_turns == 0
    starts = [i for i, message in enumerate(source.messages) if isinstance(message, UserMessage)]
    ends = [*starts[1:], len(source.messages)]
    tools = [tool.openai() for tool in source.tools]
    for sample, end in zip(rendering.samples, ends, strict=True):
        expected = tokenizer.apply_chat_template(
            template_messages(source.messages[:end]), tools=tools, return_dict=False
        )
        assert [*sample.input_ids, *tokenizer("\n")["input_ids"]] == expected
    answers = "".join(answer(message) for message in source.messages if isinstance(message, AssistantMessage))
    assert "".join(trained_text(sample, tokenizer) for sample in rendering.samples) == answers


@settings(max_examples=60, deadline=None)
@given(source=dialogues(st.one_of(st.none(), TEXTS)))
def test_every_trained_token_follows_the_prompt_the_server_would_send(
    tokenizer: PreTrainedTokenizerFast, source: Dialogue
) -> None:
    """Also without reasoning, where the rendering of earlier answers in a turn changes with the next answer."""
    tools = [tool.openai() for tool in source.tools]
    expected = []
    for position, message in enumerate(source.messages):
        if isinstance(message, AssistantMessage):
            prompt: Any = tokenizer.apply_chat_template(
                template_messages(source.messages[:position]),
                tools=tools,
                add_generation_prompt=True,
                return_dict=False,
            )
            expected.append((prompt, tokenizer(answer(message), add_special_tokens=False)["input_ids"]))
    actual = []
    for sample in render(source, tokenizer, ANY_LENGTH).samples:
        starts = [p for p in sample.trained if p - 1 not in sample.trained]
        for start in starts:
            later = range(start, len(sample.input_ids))
            end = next((p for p in later if p not in sample.trained), len(sample.input_ids))
            actual.append((sample.input_ids[:start], sample.input_ids[start:end]))
    assert actual == expected


@pytest.mark.parametrize(
    ("template", "kwargs"),
    [(None, {}), (None, {"enable_thinking": False}), (None, {"preserve_thinking": True}), (PLAIN_TEMPLATE, {})],
    ids=["thinking", "no thinking", "all thinking", "plain"],
)
@settings(max_examples=30, deadline=None)
@given(source=dialogues(st.none(), st.one_of(TEXTS, st.just("\n\nOne moment."))))
def test_answers_without_reasoning_follow_the_served_prompt_in_every_chat_format(
    tokenizer: PreTrainedTokenizerFast, template: str | None, kwargs: dict[str, Any], source: Dialogue
) -> None:
    """Of those that open the thinking and a plain one, in which the answers of a turn continue each other."""
    tokenizer = deepcopy(tokenizer)
    tokenizer.chat_template = template or tokenizer.chat_template
    expected = [
        tokenizer.apply_chat_template(
            template_messages(source.messages[:position]),
            tools=[tool.openai() for tool in source.tools],
            add_generation_prompt=True,
            return_dict=False,
            **kwargs,
        )
        for position, message in enumerate(source.messages)
        if isinstance(message, AssistantMessage)
    ]
    actual = []
    for sample in render(source, tokenizer, ANY_LENGTH, chat_template_kwargs=kwargs).samples:
        learnt = set(sample.trained)
        actual += [sample.input_ids[:start] for start in sample.trained if start - 1 not in learnt]
    assert actual == expected


def test_answers_that_would_share_a_token_with_their_prompt_are_counted(tokenizer: PreTrainedTokenizerFast) -> None:
    source = dialogue(1)
    silent = [
        message.model_copy(update={"reasoning_content": None}) if isinstance(message, AssistantMessage) else message
        for message in source.messages
    ]
    samples = render(source.model_copy(update={"messages": tuple(silent)}), tokenizer, ANY_LENGTH).samples
    answers = sum(isinstance(message, AssistantMessage) for message in source.messages)
    assert sum(sample.straddled for sample in samples) == answers
    assert not any(sample.straddled for sample in render(source, tokenizer, ANY_LENGTH).samples)
    opened, written = tokenizer("<think>\n")["input_ids"], tokenizer("\n</think>")["input_ids"]
    assert tokenizer("<think>\n\n</think>")["input_ids"] != opened + written
    for sample in samples:
        first = sample.trained[0]
        assert sample.input_ids[first - len(opened) : first + len(written)] == opened + written


def test_tool_results_and_user_messages_are_not_trained(tokenizer: PreTrainedTokenizerFast) -> None:
    for number in range(5):
        for sample in render(dialogue(number), tokenizer, ANY_LENGTH).samples:
            text = trained_text(sample, tokenizer)
            assert "tool_response" not in text
            assert "Could you look up" not in text
            assert text.endswith("<|im_end|>")


def test_templates_get_only_the_fields_that_a_message_has() -> None:
    """As from a server: a template that asks whether `tool_calls` is defined must not find it with the value None."""
    call = ToolCall.make("1", "get_shop", {"record_id": 1})
    messages = (UserMessage(content="Hi"), AssistantMessage(content="Hello"), AssistantMessage(tool_calls=(call,)))
    arguments = {"id": "1", "type": "function", "function": {"name": "get_shop", "arguments": {"record_id": 1}}}
    assert template_messages(messages) == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "assistant", "content": "", "tool_calls": [arguments]},
    ]


def test_a_template_that_does_not_continue_its_prompt_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    original = tokenizer.chat_template
    try:
        tokenizer.chat_template = (
            "{% for m in messages %}{{ m.content }}{% endfor %}{{ 'go' if add_generation_prompt }}"
        )
        with pytest.raises(RenderError, match="generation prompt"):
            render(dialogue(1), tokenizer, ANY_LENGTH)
    finally:
        tokenizer.chat_template = original


def test_with_thinking_switched_off_answers_are_trained_without_reasoning(tokenizer: PreTrainedTokenizerFast) -> None:
    """After the prompt that a server makes with the same variables, from messages without reasoning."""
    source, kwargs = dialogue(1), {"enable_thinking": False}
    plain = [message.model_copy(update={"reasoning_content": None}) for message in source.messages]
    samples = render(source, tokenizer, ANY_LENGTH, chat_template_kwargs=kwargs).samples
    trained = "".join(trained_text(sample, tokenizer) for sample in samples)
    answers = [answer(message) for message in plain if isinstance(message, AssistantMessage)]
    assert trained == "".join(text.removeprefix("\n</think>\n\n") for text in answers)
    last = max(position for position, message in enumerate(plain) if isinstance(message, AssistantMessage))
    prompt = tokenizer.apply_chat_template(
        template_messages(plain[:last]),
        tools=[tool.openai() for tool in source.tools],
        tokenize=False,
        add_generation_prompt=True,
        **kwargs,
    )
    start = next(p for p in samples[-1].trained if p - 1 not in samples[-1].trained)
    assert tokenizer.decode(samples[-1].input_ids[:start]) == prompt
    assert prompt.endswith("<think>\n\n</think>\n\n")


def test_imported_messages_are_context_but_not_trained(tokenizer: PreTrainedTokenizerFast) -> None:
    source = dialogue(3, turns=4)
    starts = [i for i, message in enumerate(source.messages) if isinstance(message, UserMessage)]
    extended = source.model_copy(update={"given": starts[2]})
    complete, rest = render(source, tokenizer, ANY_LENGTH), render(extended, tokenizer, ANY_LENGTH)
    assert rest.samples == tuple(sample for sample in complete.samples if sample.turn >= 2)
    assert len(rest.samples) == 2


@settings(max_examples=40, deadline=None)
@given(source=dialogues(TEXTS))
def test_keep_all_is_one_sample_in_which_every_answer_keeps_its_reasoning(
    tokenizer: PreTrainedTokenizerFast, source: Dialogue
) -> None:
    """Built without the template: user messages and tool results, and between them every answer with its reasoning."""
    (sample,) = render(source, tokenizer, ANY_LENGTH, "keep_all").samples
    first_answer = next(i for i, message in enumerate(source.messages) if isinstance(message, AssistantMessage))
    tools = [tool.openai() for tool in source.tools]
    expected: Any = tokenizer.apply_chat_template(
        template_messages(source.messages[:first_answer]), tools=tools, tokenize=False
    )
    for kind, group in groupby(source.messages[first_answer:], key=type):
        messages = list(group)
        if kind is ToolMessage:
            results = "".join(f"\n<tool_response>\n{m.content}\n</tool_response>" for m in messages)
            expected += f"<|im_start|>user{results}<|im_end|>\n"
        for message in messages:
            if isinstance(message, AssistantMessage):
                expected += f"<|im_start|>assistant\n<think>\n{answer(message)}\n"
            elif isinstance(message, UserMessage):
                expected += f"<|im_start|>user\n{message.content}<|im_end|>\n"
    assert tokenizer.decode(sample.input_ids) == expected.removesuffix("\n")
    answers = "".join(answer(message) for message in source.messages if isinstance(message, AssistantMessage))
    assert trained_text(sample, tokenizer) == answers


@pytest.mark.parametrize("reply", ["Yes", "Yes, please.", "No", "You choose."])
def test_keep_all_finds_the_prompt_after_an_answer_whatever_the_user_replies(
    tokenizer: PreTrainedTokenizerFast, reply: str
) -> None:
    """The place is found by changing the reply, so no reply may equal its own change."""
    source = dialogue(1, turns=2)
    second = [i for i, message in enumerate(source.messages) if isinstance(message, UserMessage)][1]
    messages = (*source.messages[:second], UserMessage(content=reply), *source.messages[second + 1 :])
    (sample,) = render(source.model_copy(update={"messages": messages}), tokenizer, ANY_LENGTH, "keep_all").samples
    assert tokenizer.decode(sample.input_ids).count(f"<|im_start|>user\n{reply}<|im_end|>\n<|im_start|>assistant") == 1
