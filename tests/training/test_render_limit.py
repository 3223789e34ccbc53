"""Dialogues longer than the limit lose complete user turns from their end."""

from __future__ import annotations

from transformers import PreTrainedTokenizerFast

from core.dialogue import Dialogue
from core.messages import UserMessage
from tests.training.helpers.dialogues import dialogue
from training.render import render

ANY_LENGTH = 1 << 20


def test_an_over_long_dialogue_loses_complete_turns_from_its_end(tokenizer: PreTrainedTokenizerFast) -> None:
    source = dialogue(1, turns=4)
    complete = render(source, tokenizer, ANY_LENGTH).samples
    limit = len(complete[1].input_ids)
    cut = render(source, tokenizer, limit)
    assert cut.samples == complete[:2]
    assert cut.cut_turns == 2
    assert render(source, tokenizer, 10).cut_turns == 4


def test_a_turn_is_cut_as_a_whole_though_its_first_answers_would_fit(tokenizer: PreTrainedTokenizerFast) -> None:
    """A template that shows only the last message's reasoning makes a sample of every answer."""
    original = tokenizer.chat_template
    try:
        tokenizer.chat_template = (
            "{% for m in messages %}{{ m.role ~ '\\n' ~ (m.reasoning_content or '' if loop.last else '') ~ m.content"
            " ~ (m.tool_calls or '') ~ '<|im_end|>' }}{% endfor %}{{ 'assistant\\n' if add_generation_prompt }}"
        )
        complete = render(dialogue(0, turns=2), tokenizer, ANY_LENGTH).samples
        turns = [sample.turn for sample in complete]
        assert turns == sorted(turns), "a sample for every answer"
        assert turns.count(1) > 1
        cut = render(dialogue(0, turns=2), tokenizer, len(complete[-1].input_ids) - 1)
    finally:
        tokenizer.chat_template = original
    assert cut.cut_turns == 1
    assert cut.samples == tuple(sample for sample in complete if sample.turn == 0)


def test_an_over_long_keep_all_loses_complete_turns_too(tokenizer: PreTrainedTokenizerFast) -> None:
    source = dialogue(1, turns=4)
    two = render(
        source.model_copy(update={"messages": source.messages[: _third_turn(source)]}),
        tokenizer,
        ANY_LENGTH,
        "keep_all",
    )
    limit = len(two.samples[0].input_ids)
    cut = render(source, tokenizer, limit, "keep_all")
    assert cut.samples == two.samples
    assert cut.cut_turns == 2
    assert render(source, tokenizer, 10, "keep_all").samples == ()


def _third_turn(source: Dialogue) -> int:
    return [i for i, message in enumerate(source.messages) if isinstance(message, UserMessage)][2]
