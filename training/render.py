"""Dialogue -> training samples, each exactly what the served model read and wrote.

When a model is served, the prompt of every answer is the chat template applied to the messages so far. Thinking
templates drop the reasoning of earlier turns, so a dialogue is not a single text. The code works for any template:
within a user turn, an answer joins the previous sample if its prompt continues that sample's tokens exactly; otherwise
it starts a new one. With Qwen3-Thinking's template and reasoning before every answer, each user turn is one sample.
Every prompt states the tools that were offered when its answer was made (Dialogue.late_tools).

Prompt and answer are tokenised apart, as they are when served. As one text they can have a token in common: without
reasoning, Qwen3-Thinking's "<think>\n" and "\n</think>" become "<think>", "\n\n", "</think>", which no server asks for.

`chat_template_kwargs` are the template's variables, such as enable_thinking; evaluation sends the same to the server.
Where they switch thinking off, the served model writes no reasoning, so none is trained.

As an ablation, `keep_all` renders a text that is never served: the complete dialogue, with the reasoning of every
answer. Where the offered tools change, a new text starts, in which the answers until then are as served.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from jinja2 import TemplateError
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

    straddled: int = 0
    """The number of answers that have a token in common with their prompt when both are tokenised as one text."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """The samples of one dialogue, and the number of over-long user turns cut from its end."""

    samples: tuple[Sample, ...]
    cut_turns: int


@dataclass(frozen=True, slots=True)
class Answer:
    """One assistant message as it is served."""

    position: int
    """Of the message in the dialogue."""

    turn: int

    prompt: str
    """The dialogue before this message, and the generation prompt."""

    written: str
    """What the model writes: the message up to its end-of-turn token."""


class DialogueTemplate:
    """The tokenizer's chat template applied to one dialogue."""

    def __init__(self, dialogue: Dialogue, tokenizer: PreTrainedTokenizerBase, kwargs: Mapping[str, Any]) -> None:
        self.dialogue, self.tokenizer, self.kwargs = dialogue, tokenizer, kwargs
        self.messages = template_messages(dialogue.messages)
        if any(kwargs.get(switch) is False for switch in THINKING_SWITCHES):
            for message in self.messages:
                message.pop("reasoning_content", None)
        self.eos = str(tokenizer.eos_token)

    def apply(self, messages: list[dict[str, Any]], position: int, prompt: bool) -> str:
        """The text of `messages`, with the tools that are offered when message `position` is written."""
        tools = [tool.openai() for tool in self.dialogue.tools_at(position)] or None
        try:
            text = self.tokenizer.apply_chat_template(
                messages, tools=tools, tokenize=False, add_generation_prompt=prompt, **self.kwargs
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise RenderError(
                f"the chat template of {self.tokenizer.name_or_path} refuses {self.dialogue.dialogue_id}: {error}"
            ) from None
        assert isinstance(text, str), "tokenize=False returns text"
        return text

    def answers(self) -> Iterator[Answer]:
        turn = -1
        for position, message in enumerate(self.dialogue.messages):
            turn += isinstance(message, UserMessage)
            if not isinstance(message, AssistantMessage) or position < self.dialogue.given:
                continue  # messages of an imported start state are context, not training targets
            prompt = self.apply(self.messages[:position], position, True)
            text = self.apply(self.messages[: position + 1], position, False)
            end = text.rfind(self.eos) + len(self.eos)
            if not text.startswith(prompt) or end <= len(prompt):
                raise RenderError(
                    f"{self.dialogue.dialogue_id}, message {position}: the chat template does not continue its own "
                    f"generation prompt and end the turn with {self.eos!r} (model.chat_template_kwargs={self.kwargs})"
                )
            yield Answer(position, turn, prompt, text[len(prompt) : end])

    def tokens(self, text: str) -> list[int]:
        """As a server tokenises a prompt."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def tokens_after(self, prompt: str, text: str) -> tuple[list[int], bool]:
        """The tokens of `text` after a prompt, and whether tokenising both as one text would change the prompt's.

        No token spans the end of a turn, so only what follows the last one is tokenised with the text."""
        prompt = prompt[max(prompt.rfind(self.eos), 0) :]
        prompt_ids, joined = self.tokens(prompt), self.tokens(prompt + text)
        if joined[: len(prompt_ids)] == prompt_ids:
            return joined[len(prompt_ids) :], False
        return self.tokens(text), True

    def prompt_after(self, previous: int, answer: Answer) -> str:
        """The part of an answer's prompt that follows the assistant message at position `previous`.

        To find where it starts, the next message's content is changed and the prompt rendered again: the two prompts
        agree up to that content, and the last end-of-turn token in the common part is the assistant's.
        """
        changed = [*self.messages[: answer.position]]
        content = str(changed[previous + 1].get("content"))
        changed[previous + 1] = {**changed[previous + 1], "content": "No" if content.startswith("Y") else "Yes"}
        prompt = answer.prompt
        pairs = enumerate(zip(prompt, self.apply(changed, answer.position, True), strict=False))
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
    template = DialogueTemplate(dialogue, tokenizer, chat_template_kwargs or {})
    samples: list[Sample] = []
    for sample in _served(template) if history_reasoning == "served" else _keep_all(template):
        if len(sample.input_ids) > max_tokens:
            cut_turns = dialogue.user_turns - sample.turn
            fitting = [s for s in samples if s.turn < sample.turn]
            break
        samples.append(sample)
    else:
        fitting, cut_turns = samples, 0
    if history_reasoning == "keep_all":
        # The longest of each text: as long as the tools stay the same, each sample continues the previous one.
        following = [*fitting, None][1:]
        fitting = [s for s, later in zip(fitting, following, strict=True) if not later or _starts_anew(later, s)]
    return Rendering(tuple(fitting), cut_turns)


def template_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as a server passes them to the template: arguments of tool calls as objects, not strings."""
    plain = [message.model_dump(exclude_none=True) for message in messages]
    for message in plain:
        if calls := message.get("tool_calls"):
            message["tool_calls"] = [_parse_arguments(call) for call in calls]
    return plain


def _served(template: DialogueTemplate) -> Iterator[Sample]:
    """What a server would see, the answers of one user turn in one sample where they continue each other."""
    sample: Sample | None = None
    prompts: list[list[int]] = []
    for answer in template.answers():
        prompt = template.tokens(answer.prompt)
        if sample and (sample.turn != answer.turn or prompt[: len(sample.input_ids)] != sample.input_ids):
            yield _checked(sample, prompts)
            sample, prompts = None, []
        written, straddled = template.tokens_after(answer.prompt, answer.written)
        earlier = sample or Sample(template.dialogue.dialogue_id, answer.turn, [], [])
        trained = [*earlier.trained, *range(len(prompt), len(prompt) + len(written))]
        sample = replace(earlier, input_ids=prompt + written, trained=trained, straddled=earlier.straddled + straddled)
        prompts.append(prompt)
    if sample:
        yield _checked(sample, prompts)


def _checked(sample: Sample, prompts: Sequence[list[int]]) -> Sample:
    """The sample; an assertion checks that every answer follows the tokens of its served prompt."""
    learnt = set(sample.trained)
    for prompt in prompts:
        served = sample.input_ids[: len(prompt)] == prompt and len(prompt) in learnt
        assert served, "every answer follows its prompt as served"
    return sample


def _keep_all(template: DialogueTemplate) -> Iterator[Sample]:
    """After every user turn, the dialogue so far as one sample: prompts as they are served, every answer since the
    offered tools changed with its reasoning."""
    tools_at = template.dialogue.tools_at
    text, previous = "", None
    sample = Sample(template.dialogue.dialogue_id, 0, [], [])
    for answer in template.answers():
        if previous is not None and answer.turn != sample.turn:
            yield sample
            if tools_at(previous) != tools_at(answer.position):
                text, previous = "", None
                sample = Sample(template.dialogue.dialogue_id, answer.turn, [], [])
        prompt = answer.prompt if previous is None else template.prompt_after(previous, answer)
        before = sample.input_ids + template.tokens_after(text, prompt)[0]
        text += prompt
        written, straddled = template.tokens_after(text, answer.written)
        text += answer.written
        trained = [*sample.trained, *range(len(before), len(before) + len(written))]
        sample = replace(
            sample,
            turn=answer.turn,
            input_ids=before + written,
            trained=trained,
            straddled=sample.straddled + straddled,
        )
        previous = answer.position
    if previous is not None:
        yield sample


def _starts_anew(later: Sample, sample: Sample) -> bool:
    """Whether `later` is of another text than `sample`: they train from the same place on if they are of one."""
    return later.trained[0] != sample.trained[0]


def _parse_arguments(call: dict[str, Any]) -> dict[str, Any]:
    return {**call, "function": {**call["function"], "arguments": json.loads(call["function"]["arguments"])}}
