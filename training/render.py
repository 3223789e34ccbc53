"""Dialogue -> training samples, each exactly what the served model read and wrote.

When a model is served, the prompt of every answer is the chat template applied to the messages so far. Thinking
templates drop the reasoning of earlier turns, so a dialogue is not a single text. The code works for any template:
within a user turn, an answer joins the previous sample if its prompt continues that sample's text exactly; otherwise it
starts a new one. With Qwen3-Thinking's template and reasoning before every answer, each user turn is one sample.

`chat_template_kwargs` are the template's variables, such as enable_thinking; evaluation sends the same to the server.
Where they switch thinking off, the served model writes no reasoning, so none is trained.

As an ablation, `keep_all` renders a text that is never served: the complete dialogue, with the reasoning of every
answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from transformers import PreTrainedTokenizerBase

from core.dialogue import Dialogue
from core.messages import AssistantMessage, Message, UserMessage
from core.settings import UserError

HistoryReasoning = Literal["served", "keep_all"]

THINKING_SWITCHES = ("enable_thinking", "thinking")
"""Variables with which templates switch thinking on and off."""


class RenderError(UserError):
    """The chat template cannot be used to train on text as served; the message says why."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One training sequence."""

    dialogue_id: str

    turn: int
    """The user turn, from 0."""

    input_ids: list[int]

    trained: list[int]
    """Ascending positions in `input_ids` of the tokens the model writes: reasoning, content, tool calls, end of
    turn."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """The samples of one dialogue, and the number of over-long user turns cut from its end."""

    samples: tuple[Sample, ...]
    cut_turns: int


@dataclass(slots=True)
class _Text:
    """A sample before tokenisation; `spans` are the trained parts of `text`, as character ranges."""

    turn: int
    text: str
    spans: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Answer:
    """One assistant message as it is served."""

    position: int
    """Of the message in the dialogue."""

    turn: int

    text: str
    """The dialogue rendered up to and including this message."""

    prompt_end: int
    """`text[:prompt_end]` is the prompt."""

    end: int
    """`text[prompt_end:end]` is what the model writes."""


class _Template:
    """The tokenizer's chat template applied to one dialogue."""

    def __init__(self, dialogue: Dialogue, tokenizer: PreTrainedTokenizerBase, kwargs: Mapping[str, Any]) -> None:
        self.dialogue, self.tokenizer, self.kwargs = dialogue, tokenizer, kwargs
        self.messages = template_messages(dialogue.messages)
        if any(kwargs.get(switch) is False for switch in THINKING_SWITCHES):
            for message in self.messages:
                message.pop("reasoning_content", None)
        self.tools = [tool.openai() for tool in dialogue.tools] or None
        self.eos = str(tokenizer.eos_token)

    def apply(self, messages: list[dict[str, Any]], prompt: bool) -> str:
        text = self.tokenizer.apply_chat_template(
            messages, tools=self.tools, tokenize=False, add_generation_prompt=prompt, **self.kwargs
        )
        assert isinstance(text, str), "tokenize=False returns text"
        return text

    def answers(self) -> Iterator[_Answer]:
        turn = -1
        for position, message in enumerate(self.dialogue.messages):
            turn += isinstance(message, UserMessage)
            if not isinstance(message, AssistantMessage) or position < self.dialogue.given:
                continue  # messages of an imported start state are context, not training targets
            prompt = self.apply(self.messages[:position], True)
            text = self.apply(self.messages[: position + 1], False)
            end = text.rfind(self.eos) + len(self.eos)
            if not text.startswith(prompt) or end <= len(prompt):
                raise RenderError(
                    f"{self.dialogue.dialogue_id}, message {position}: the chat template does not continue its own "
                    f"generation prompt and end the turn with {self.eos!r} (model.chat_template_kwargs={self.kwargs})"
                )
            yield _Answer(position, turn, text, len(prompt), end)

    def prompt_after(self, previous: int, answer: _Answer) -> str:
        """The part of an answer's prompt that follows the assistant message at position `previous`.

        To find where it starts, the next message's content is changed and the prompt rendered again: the two prompts
        agree up to that content, and the last end-of-turn token in the common part is the assistant's.
        """
        changed = [*self.messages[: answer.position]]
        content = str(changed[previous + 1].get("content"))
        changed[previous + 1] = {**changed[previous + 1], "content": "No" if content.startswith("Y") else "Yes"}
        prompt = answer.text[: answer.prompt_end]
        pairs = enumerate(zip(prompt, self.apply(changed, True), strict=False))
        common = next((index for index, (char, other) in pairs if char != other), len(prompt))
        return prompt[prompt.rfind(self.eos, 0, common) + len(self.eos) :]


def render(
    dialogue: Dialogue,
    tokenizer: PreTrainedTokenizerBase,
    max_tokens: int,
    history_reasoning: HistoryReasoning = "served",
    chat_template_kwargs: Mapping[str, Any] | None = None,
) -> Rendering:
    """Render a dialogue with the tokenizer's chat template and its variables `chat_template_kwargs`, cut before the
    first user turn that needs more than `max_tokens` tokens. Raises RenderError if the template does not fit."""
    template = _Template(dialogue, tokenizer, chat_template_kwargs or {})
    samples: list[Sample] = []
    for text in _served(template) if history_reasoning == "served" else _keep_all(template):
        sample = _tokenize(dialogue.dialogue_id, text, tokenizer)
        if len(sample.input_ids) > max_tokens:
            fitting = [s for s in samples if s.turn < sample.turn]
            break
        samples.append(sample)
    else:
        fitting, text = samples, None
    if history_reasoning == "keep_all":
        fitting = fitting[-1:]  # the longest: each text continues the previous one
    return Rendering(tuple(fitting), cut_turns=dialogue.user_turns - text.turn if text else 0)


def template_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as a server passes them to the template: arguments of tool calls as objects, not strings."""
    plain = [message.model_dump(exclude_none=True) for message in messages]
    for message in plain:
        if calls := message.get("tool_calls"):
            message["tool_calls"] = [_parse_arguments(call) for call in calls]
    return plain


def _served(template: _Template) -> Iterator[_Text]:
    """The texts that a server would see, the answers of one user turn in one text where they continue each other."""
    sample: _Text | None = None
    for answer in template.answers():
        if sample and (sample.turn != answer.turn or not answer.text[: answer.prompt_end].startswith(sample.text)):
            yield sample
            sample = None
        spans = [*(sample.spans if sample else []), (answer.prompt_end, answer.end)]
        sample = _Text(answer.turn, answer.text, spans)
    if sample:
        yield sample


def _keep_all(template: _Template) -> Iterator[_Text]:
    """After every user turn, the dialogue so far as one text: prompts as they are served, every answer with its
    reasoning."""
    text, spans, previous = "", list[tuple[int, int]](), None
    turn = -1
    for answer in template.answers():
        if previous is not None and answer.turn != turn:
            yield _Text(turn, text, list(spans))
        turn = answer.turn
        text += answer.text[: answer.prompt_end] if previous is None else template.prompt_after(previous, answer)
        spans.append((len(text), len(text) + answer.end - answer.prompt_end))
        text += answer.text[answer.prompt_end : answer.end]
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


def _parse_arguments(call: dict[str, Any]) -> dict[str, Any]:
    return {**call, "function": {**call["function"], "arguments": json.loads(call["function"]["arguments"])}}
