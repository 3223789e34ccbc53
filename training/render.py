"""Dialogue -> training samples, each exactly what the served model saw and said (design.md, "Exactness in training").

At serving time the prompt of every answer is the chat template applied to the messages so far. Thinking templates drop
the reasoning of earlier turns from it, so one dialogue is not one text. Nothing here knows which template it is: within
a user turn, an answer joins the sample before it where its prompt continues that text to the letter, else it opens one.
With Qwen3-Thinking's template and reasoning before every answer that makes one sample per user turn.

As an ablation, `keep_all` renders what is never served so: one text in which every answer keeps its reasoning.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from transformers import PreTrainedTokenizerBase

from core.dialogue import Dialogue
from core.messages import AssistantMessage, Message, UserMessage
from core.settings import UserError

HistoryReasoning = Literal["served", "keep_all"]


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


@dataclass(frozen=True, slots=True)
class _Answer:
    """One assistant message as it is served: `whole` up to the end of its rendering, of which the first `prompt` characters
    are what the server is sent and those up to `end` what the model has to say."""

    position: int
    turn: int
    whole: str
    prompt: int
    end: int


class _Template:
    """The tokenizer's chat template over one dialogue."""

    def __init__(self, dialogue: Dialogue, tokenizer: PreTrainedTokenizerBase) -> None:
        self.dialogue, self.tokenizer = dialogue, tokenizer
        self.messages = wire(dialogue.messages)
        self.tools = [tool.openai() for tool in dialogue.tools] or None
        self.eos = str(tokenizer.eos_token)

    def text(self, messages: list[dict[str, Any]], prompt: bool) -> str:
        text = self.tokenizer.apply_chat_template(
            messages, tools=self.tools, tokenize=False, add_generation_prompt=prompt
        )
        assert isinstance(text, str), "tokenize=False gives text"
        return text

    def answers(self) -> Iterator[_Answer]:
        turn = -1
        for position, message in enumerate(self.dialogue.messages):
            turn += isinstance(message, UserMessage)
            if not isinstance(message, AssistantMessage) or position < self.dialogue.given:
                continue  # what others said before is what the model answers to, not what it is to learn
            prompt, whole = self.text(self.messages[:position], True), self.text(self.messages[: position + 1], False)
            end = whole.rfind(self.eos) + len(self.eos)
            if not whole.startswith(prompt) or end <= len(prompt):
                raise RenderError(
                    f"{self.dialogue.dialogue_id}, message {position}: the chat template does not continue its own "
                    f"generation prompt and end the turn with {self.eos!r}"
                )
            yield _Answer(position, turn, whole, len(prompt), end)

    def since(self, previous: int, answer: _Answer) -> str:
        """The part of an answer's prompt that follows the assistant message at `previous`. Where it begins shows when the
        message after that one says something else: up to its words nothing changes, and the last turn to end there is the
        assistant's."""
        other = [*self.messages[: answer.position]]
        said = str(other[previous + 1].get("content"))
        other[previous + 1] = {**other[previous + 1], "content": "No" if said.startswith("Y") else "Yes"}
        prompt = answer.whole[: answer.prompt]
        pairs = enumerate(zip(prompt, self.text(other, True), strict=False))
        same = next((at for at, (one, two) in pairs if one != two), len(prompt))
        return prompt[prompt.rfind(self.eos, 0, same) + len(self.eos) :]


def render(
    dialogue: Dialogue,
    tokenizer: PreTrainedTokenizerBase,
    max_tokens: int,
    history_reasoning: HistoryReasoning = "served",
) -> Rendering:
    """Render a dialogue with the tokenizer's own chat template. From the first user turn that needs more than
    `max_tokens` tokens on, the dialogue is cut. Raises RenderError if the template does not fit."""
    template = _Template(dialogue, tokenizer)
    samples: list[Sample] = []
    for text in _served(template) if history_reasoning == "served" else _growing(template):
        sample = _tokenize(dialogue.dialogue_id, text, tokenizer)
        if len(sample.input_ids) > max_tokens:
            kept = [s for s in samples if s.turn < sample.turn]
            break
        samples.append(sample)
    else:
        kept, text = samples, None
    if history_reasoning == "keep_all":
        kept = kept[-1:]  # the longest: each text goes on where the one before ended
    return Rendering(tuple(kept), cut_turns=dialogue.user_turns - text.turn if text else 0)


def wire(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as a server hands them to the template: arguments of tool calls are objects there, not strings."""
    plain = [message.model_dump(exclude_none=True) for message in messages]
    for message in plain:
        if calls := message.get("tool_calls"):
            message["tool_calls"] = [_parsed(call) for call in calls]
    return plain


def _served(template: _Template) -> Iterator[_Text]:
    """A text for every rendering that a server would see."""
    sample: _Text | None = None
    for answer in template.answers():
        if sample and (sample.turn != answer.turn or not answer.whole[: answer.prompt].startswith(sample.text)):
            yield sample
            sample = None
        spans = [*(sample.spans if sample else []), (answer.prompt, answer.end)]
        sample = _Text(answer.turn, answer.whole, spans)
    if sample:
        yield sample


def _growing(template: _Template) -> Iterator[_Text]:
    """After every user turn, all until then in one text: what was asked as it is served, and every answer with its reasoning."""
    text, spans, previous = "", list[tuple[int, int]](), None
    turn = -1
    for answer in template.answers():
        if previous is not None and answer.turn != turn:
            yield _Text(turn, text, list(spans))
        turn = answer.turn
        text += answer.whole[: answer.prompt] if previous is None else template.since(previous, answer)
        spans.append((len(text), len(text) + answer.end - answer.prompt))
        text += answer.whole[answer.prompt : answer.end]
        previous = answer.position
    if spans:
        yield _Text(turn, text, spans)


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
