"""Rendered samples against the chat template itself, which is what a server applies."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from core.dialogue import Dialogue
from core.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, UserMessage
from tests.training.helpers.dialogues import dialogue
from training.render import RenderError, Sample, render, wire

ANY_LENGTH = 1 << 20
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("C",)), max_size=20)
SPOKEN = st.tuples(st.sampled_from("AÄ9€"), WORDS).map("".join)


def answer(message: AssistantMessage) -> str:
    """What the model has to say after the generation prompt, spelt out apart from the template."""
    calls = [
        f'<tool_call>\n{{"name": "{c.name}", "arguments": {c.function.arguments}}}\n</tool_call>'
        for c in message.tool_calls or ()
    ]
    spoken = "\n".join([*([message.content] if message.content else []), *calls])
    return f"{message.reasoning_content or ''}\n</think>\n\n{spoken}<|im_end|>"


def trained_text(sample: Sample, tokenizer: PreTrainedTokenizerFast) -> str:
    return tokenizer.decode([sample.input_ids[p] for p in sample.trained])


@st.composite
def dialogues(draw: st.DrawFn, reasoning: st.SearchStrategy[str | None]) -> Dialogue:
    """Any lawful transcript: calls with or without words, several at once, answers at once, odd characters."""
    shape = dialogue(0)
    messages: list[Message] = [SystemMessage(content=draw(WORDS))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        messages.append(UserMessage(content=draw(SPOKEN)))
        for _ in range(draw(st.integers(0, 2))):
            calls = tuple(
                ToolCall.make(f"{len(messages)}-{n}", "get_shop", {"record_id": n, "note": draw(WORDS)})
                for n in range(draw(st.integers(1, 2)))
            )
            content = draw(st.one_of(st.just(""), SPOKEN))
            messages.append(AssistantMessage(content=content, reasoning_content=draw(reasoning), tool_calls=calls))
            messages += [ToolMessage(tool_call_id=call.id, content=draw(WORDS)) for call in calls]
        messages.append(AssistantMessage(content=draw(SPOKEN), reasoning_content=draw(reasoning)))
    made = shape.model_copy(update={"messages": tuple(messages)})
    made.check()
    return made


@settings(max_examples=60, deadline=None)
@given(made=dialogues(SPOKEN))
def test_one_sample_a_turn_equals_the_template_and_trains_every_answer_once(
    tokenizer: PreTrainedTokenizerFast, made: Dialogue
) -> None:
    rendering = render(made, tokenizer, ANY_LENGTH)
    assert [sample.turn for sample in rendering.samples] == list(range(made.user_turns))
    assert rendering.cut_turns == 0
    starts = [i for i, message in enumerate(made.messages) if isinstance(message, UserMessage)]
    ends = [*starts[1:], len(made.messages)]
    tools = [tool.openai() for tool in made.tools]
    for sample, end in zip(rendering.samples, ends, strict=True):
        whole = tokenizer.apply_chat_template(wire(made.messages[:end]), tools=tools, return_dict=False)
        assert sample.input_ids == whole
    said = "".join(answer(message) for message in made.messages if isinstance(message, AssistantMessage))
    assert "".join(trained_text(sample, tokenizer) for sample in rendering.samples) == said


@settings(max_examples=60, deadline=None)
@given(made=dialogues(st.one_of(st.none(), SPOKEN)))
def test_every_trained_token_follows_the_prompt_the_server_would_send(
    tokenizer: PreTrainedTokenizerFast, made: Dialogue
) -> None:
    """Also where reasoning is missing, so that a turn's rendering changes under the answers already given."""
    tools = [tool.openai() for tool in made.tools]
    expected = []
    for position, message in enumerate(made.messages):
        if isinstance(message, AssistantMessage):
            prompt: Any = tokenizer.apply_chat_template(
                wire(made.messages[:position]), tools=tools, add_generation_prompt=True, return_dict=False
            )
            expected.append((prompt, tokenizer(answer(message), add_special_tokens=False)["input_ids"]))
    actual = []
    for sample in render(made, tokenizer, ANY_LENGTH).samples:
        starts = [p for p in sample.trained if p - 1 not in sample.trained]
        for start in starts:
            end = next(p for p in range(start, len(sample.input_ids)) if p not in sample.trained)
            actual.append((sample.input_ids[:start], sample.input_ids[start:end]))
    assert actual == expected


def test_results_of_tools_and_words_of_users_are_not_trained(tokenizer: PreTrainedTokenizerFast) -> None:
    for number in range(5):
        for sample in render(dialogue(number), tokenizer, ANY_LENGTH).samples:
            text = trained_text(sample, tokenizer)
            assert "tool_response" not in text
            assert "Could you look up" not in text
            assert text.endswith("<|im_end|>")


def test_an_over_long_dialogue_loses_whole_turns_from_its_end(tokenizer: PreTrainedTokenizerFast) -> None:
    made = dialogue(1, turns=4)
    whole = render(made, tokenizer, ANY_LENGTH).samples
    limit = len(whole[1].input_ids)
    cut = render(made, tokenizer, limit)
    assert cut.samples == whole[:2]
    assert cut.cut_turns == 2
    assert render(made, tokenizer, 10).cut_turns == 4


def test_a_template_that_does_not_continue_its_prompt_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    before = tokenizer.chat_template
    try:
        tokenizer.chat_template = (
            "{% for m in messages %}{{ m.content }}{% endfor %}{{ 'go' if add_generation_prompt }}"
        )
        with pytest.raises(RenderError, match="generation prompt"):
            render(dialogue(1), tokenizer, ANY_LENGTH)
    finally:
        tokenizer.chat_template = before


def test_what_was_given_is_read_but_not_learnt(tokenizer: PreTrainedTokenizerFast) -> None:
    made = dialogue(3, turns=4)
    starts = [i for i, message in enumerate(made.messages) if isinstance(message, UserMessage)]
    extended = made.model_copy(update={"given": starts[2]})
    whole, rest = render(made, tokenizer, ANY_LENGTH), render(extended, tokenizer, ANY_LENGTH)
    assert rest.samples == tuple(sample for sample in whole.samples if sample.turn >= 2)
    assert len(rest.samples) == 2


@settings(max_examples=40, deadline=None)
@given(made=dialogues(SPOKEN))
def test_keep_all_is_one_sample_in_which_every_answer_keeps_its_reasoning(
    tokenizer: PreTrainedTokenizerFast, made: Dialogue
) -> None:
    """Spelt out apart from the template: what users and tools say, and between it every answer as it was given."""
    (sample,) = render(made, tokenizer, ANY_LENGTH, "keep_all").samples
    begin = next(i for i, message in enumerate(made.messages) if isinstance(message, AssistantMessage))
    tools = [tool.openai() for tool in made.tools]
    expected: Any = tokenizer.apply_chat_template(wire(made.messages[:begin]), tools=tools, tokenize=False)
    for kind, group in groupby(made.messages[begin:], key=type):
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
    said = "".join(answer(message) for message in made.messages if isinstance(message, AssistantMessage))
    assert trained_text(sample, tokenizer) == said


def test_an_over_long_keep_all_loses_whole_turns_too(tokenizer: PreTrainedTokenizerFast) -> None:
    made = dialogue(1, turns=4)
    two = render(
        made.model_copy(update={"messages": made.messages[: _third_turn(made)]}), tokenizer, ANY_LENGTH, "keep_all"
    )
    limit = len(two.samples[0].input_ids)
    cut = render(made, tokenizer, limit, "keep_all")
    assert cut.samples == two.samples
    assert cut.cut_turns == 2
    assert render(made, tokenizer, 10, "keep_all").samples == ()


def _third_turn(made: Dialogue) -> int:
    return [i for i, message in enumerate(made.messages) if isinstance(message, UserMessage)][2]
