"""Dialogues with a tool that is offered later: each answer is rendered with the tools of its turn."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from core.messages import AssistantMessage, UserMessage
from tests.training.helpers.dialogues import late_tool_dialogue
from tests.training.test_render import ANY_LENGTH, PLAIN_TEMPLATE, trained_text
from training.render import render, template_messages
from training.token_tree import merge


@pytest.mark.parametrize("template", [None, PLAIN_TEMPLATE], ids=["thinking", "plain"])
@pytest.mark.parametrize("number", range(4))
def test_each_answer_is_rendered_with_the_tools_that_were_offered_when_it_was_made(
    tokenizer: PreTrainedTokenizerFast, number: int, template: str | None
) -> None:
    """The late tool is in the prompts of the last two turns alone; the token tree keeps every sample."""
    tokenizer = deepcopy(tokenizer)
    tokenizer.chat_template = template or tokenizer.chat_template
    source = late_tool_dialogue(number)
    first, last = [tool.openai() for tool in source.tools[1:]], [tool.openai() for tool in source.tools]
    expected: list[Any] = [
        tokenizer.apply_chat_template(
            template_messages(source.messages[:position]),
            tools=last if position >= source.late_tools["stock_of"] else first,
            add_generation_prompt=True,
            return_dict=False,
        )
        for position, message in enumerate(source.messages)
        if isinstance(message, AssistantMessage)
    ]
    samples = render(source, tokenizer, ANY_LENGTH).samples
    prompts = [s.input_ids[:start] for s in samples for start in s.trained if start - 1 not in set(s.trained)]
    assert prompts == expected
    tree = merge(samples)
    leaves = [tree.input_ids[path].tolist() for path in tree.paths()]
    for sample in samples:
        assert any(leaf[: len(sample.input_ids)] == sample.input_ids for leaf in leaves)
    assert len(tree.trained) == sum(len(sample.trained) for sample in samples)


@pytest.mark.parametrize("template", [None, PLAIN_TEMPLATE], ids=["thinking", "plain"])
def test_keep_all_starts_a_new_text_where_the_tools_change(
    tokenizer: PreTrainedTokenizerFast, template: str | None
) -> None:
    """Each text trains the answers of its own turns; together they train every answer once."""
    tokenizer = deepcopy(tokenizer)
    tokenizer.chat_template = template or tokenizer.chat_template
    source = late_tool_dialogue(1)
    late = source.late_tools["stock_of"]
    early, rest = render(source, tokenizer, ANY_LENGTH, "keep_all").samples
    until = source.model_copy(update={"messages": source.messages[:late], "tools": source.tools[1:], "late_tools": {}})
    assert (early,) == render(until, tokenizer, ANY_LENGTH, "keep_all").samples
    after = source.model_copy(update={"late_tools": {}, "given": late})
    assert (rest,) == render(after, tokenizer, ANY_LENGTH, "keep_all").samples
    assert "There are four." in trained_text(rest, tokenizer)


def test_a_dialogue_whose_given_messages_end_before_a_late_tool_is_rendered_from_there(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    whole = late_tool_dialogue(2)
    users = [i for i, message in enumerate(whole.messages) if isinstance(message, UserMessage)]
    rest = render(late_tool_dialogue(2, given=users[1]), tokenizer, ANY_LENGTH).samples
    assert rest == tuple(s for s in render(whole, tokenizer, ANY_LENGTH).samples if s.turn >= 1)
