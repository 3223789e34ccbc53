"""Dialogue -> training samples, each exactly what the served model saw and said (design.md, "Exactness in training").

At serving time the prompt of every answer is the chat template applied to the messages so far. Thinking templates drop
the reasoning of earlier turns from it, so one dialogue is not one text. Nothing here knows which template it is: within
a user turn, an answer joins the sample before it where its prompt continues that text to the letter, else it opens one.
With Qwen3-Thinking's template and reasoning before every answer that makes one sample per user turn.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from core.dialogue import Dialogue
from core.messages import AssistantMessage, Message, UserMessage
from core.settings import UserError


class RenderError(UserError):
    """The chat template cannot be trained on as it is served; the message says why."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One sequence. `trained` are the rising positions in `input_ids` of the tokens the model has to produce itself:
    reasoning, content, tool calls and the token that ends its turn. `turn` counts user turns from 0."""

    dialogue_id: str
    turn: int
    input_ids: list[int]
    trained: list[int]


@dataclass(frozen=True, slots=True)
class Rendering:
    """The samples of one dialogue, and how many user turns at its end were cut because they were over-long."""

    samples: tuple[Sample, ...]
    cut_turns: int


@dataclass(slots=True)
class _Text:
    """A sample before tokenisation: `spans` are the trained stretches of `text`, in characters."""

    turn: int
    text: str
    spans: list[tuple[int, int]]


def render(dialogue: Dialogue, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> Rendering:
    """Render a dialogue with the tokenizer's own chat template. From the first user turn that needs more than
    `max_tokens` tokens on, the dialogue is cut. Raises RenderError if the template does not fit."""
    samples: list[Sample] = []
    for text in _texts(dialogue, tokenizer):
        sample = _tokenize(dialogue.dialogue_id, text, tokenizer)
        if len(sample.input_ids) > max_tokens:
            kept = tuple(s for s in samples if s.turn < sample.turn)
            return Rendering(kept, cut_turns=dialogue.user_turns - text.turn)
        samples.append(sample)
    return Rendering(tuple(samples), cut_turns=0)


def wire(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as a server hands them to the template: arguments of tool calls are objects there, not strings."""
    plain = [message.model_dump(exclude_none=True) for message in messages]
    for message in plain:
        if calls := message.get("tool_calls"):
            message["tool_calls"] = [_parsed(call) for call in calls]
    return plain


def _texts(dialogue: Dialogue, tokenizer: PreTrainedTokenizerBase) -> Iterator[_Text]:
    messages = wire(dialogue.messages)
    tools = [tool.openai() for tool in dialogue.tools] or None

    def templated(count: int, prompt: bool) -> str:
        text = tokenizer.apply_chat_template(
            messages[:count], tools=tools, tokenize=False, add_generation_prompt=prompt
        )
        assert isinstance(text, str), "tokenize=False gives text"
        return text

    sample: _Text | None = None
    turn = -1
    for position, message in enumerate(dialogue.messages):
        turn += isinstance(message, UserMessage)
        if not isinstance(message, AssistantMessage) or position < dialogue.given:
            continue  # what others said before is what the model answers to, not what it is to learn
        prompt, whole = templated(position, prompt=True), templated(position + 1, prompt=False)
        end = whole.rfind(str(tokenizer.eos_token)) + len(str(tokenizer.eos_token))
        if not whole.startswith(prompt) or end <= len(prompt):
            raise RenderError(
                f"{dialogue.dialogue_id}, message {position}: the chat template does not continue its own generation "
                f"prompt and end the turn with {tokenizer.eos_token!r}"
            )
        if sample and (sample.turn != turn or not prompt.startswith(sample.text)):
            yield sample
            sample = None
        sample = _Text(turn, whole, [*(sample.spans if sample else []), (len(prompt), end)])
    if sample:
        yield sample


def _tokenize(dialogue_id: str, text: _Text, tokenizer: PreTrainedTokenizerBase) -> Sample:
    encoding = tokenizer(text.text, add_special_tokens=False, return_offsets_mapping=True)
    trained: list[int] = []
    spans = iter(text.spans)
    start, end = next(spans)
    for position, (first, last) in enumerate(encoding["offset_mapping"]):
        while first >= end:
            start, end = next(spans, (len(text.text), len(text.text) + 1))
        if start <= first and last <= end:
            trained.append(position)
    return Sample(dialogue_id, text.turn, encoding["input_ids"], trained)


def _parsed(call: dict[str, Any]) -> dict[str, Any]:
    return {**call, "function": {**call["function"], "arguments": json.loads(call["function"]["arguments"])}}
