"""Merged look-ups become training samples as any other calls do."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from core.messages import AssistantMessage
from generation.dialogue.parallel import ParallelSettings, merge_look_ups
from tests.generation.helpers.look_ups import Shop, conversation, get
from training.render import render, template_messages
from training.token_tree import merge


@settings(max_examples=25, deadline=None)
@given(turns=st.lists(st.lists(st.sampled_from(range(11, 16)), max_size=4, unique=True), min_size=1, max_size=3))
async def test_each_answer_follows_the_prompt_of_the_merged_dialogue(
    tokenizer: PreTrainedTokenizerFast, turns: list[list[int]]
) -> None:
    steps = [[get(item, f"I look up item {item}.") for item in items] for items in turns]
    dialogue = await conversation(*(("Items 11, 12, 13, 14 and 15.", each) for each in steps))
    after = await merge_look_ups(dialogue, Shop(), "0/d", ParallelSettings(share=1.0, max_calls=6))
    assert sum(len(items) > 1 for items in turns) == after.provenance.parallel["merged"]
    expected: list[Any] = [
        tokenizer.apply_chat_template(
            template_messages(after.messages[:position]),
            tools=[tool.openai() for tool in after.tools],
            add_generation_prompt=True,
            return_dict=False,
        )
        for position, message in enumerate(after.messages)
        if isinstance(message, AssistantMessage)
    ]
    samples = render(after, tokenizer, 1 << 20).samples
    prompts = [s.input_ids[:start] for s in samples for start in s.trained if start - 1 not in set(s.trained)]
    assert prompts == expected
    trained = "".join(tokenizer.decode([s.input_ids[p] for p in s.trained]) for s in samples)
    assert trained.count("<tool_call>") == sum(map(len, turns))
    assert all(f"I look up item {item}." in trained for items in turns for item in items)
    assert len(merge(samples).trained) == sum(len(sample.trained) for sample in samples)
