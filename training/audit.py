"""How much of a dataset would be trained in contexts that no server ever renders, by the way of training.

A served model writes every answer after one prompt: the chat template applied to the messages so far. The context of a
trained token is *served* if it is such a prompt, followed by what was already written of that answer. The usual
trainers render a dialogue as one text, in which the contexts of many tokens are others: with the reasoning of earlier
turns, which thinking templates drop when they serve; without it where the answer had one; with tokens that straddle the
end of the prompt. Token trees (training.token_tree) have only served contexts.

Only contexts are counted. A token in a served context can still be one that the model should not write there, such as
the first word of an answer whose reasoning was dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from core.dialogue import Dialogue
from core.messages import AssistantMessage, Frozen, Message
from core.settings import UserError
from training.audit_ways import WAYS, Mask, ServedAnswer, TrainedText, has_markers, served_answers, trained_texts
from training.render import DialogueTemplate, RenderError
from training.token_tree import Ints, common_length

SHOWN_BEFORE, SHOWN_AFTER = 16, 12
"""Tokens shown before and after a difference."""


class Difference(Frozen):
    """The first place where a training text leaves what is served: `before` in both, then the text trained on and the
    one served, with "|" between tokens if only these differ. `message` is the position of the answer."""

    dialogue_id: str
    message: int
    before: str
    trained: str
    served: str


class WayAudit(Frozen):
    """One way of training. Tokens and answers are counted over all dialogues; `unserved_tokens` have a context that is
    never served, `affected_answers` such a token. `prompt_tokens` are trained although the prompt of their answer
    already has them, as <think> where the template opens the reasoning: a waste, but no other context."""

    way: str
    description: str
    trained_tokens: int
    unserved_tokens: int
    prompt_tokens: int
    answers: int
    affected_answers: int
    first: Difference | None

    @property
    def share(self) -> float:
        """Unserved tokens among the trained ones, 0 without any."""
        return self.unserved_tokens / self.trained_tokens if self.trained_tokens else 0.0


class Audit(Frozen):
    """All ways on the same dialogues, whose answers have `answer_tokens` as served. `markers` tells whether the
    template marks generation; `refused` counts dialogues that cannot be rendered as served, with the first reason."""

    dialogues: int
    answers: int
    answer_tokens: int
    markers: bool
    refused: int
    refusal: str | None
    ways: tuple[WayAudit, ...]


@dataclass
class _Tally:
    trained: int = 0
    unserved: int = 0
    of_prompt: int = 0
    answers: int = 0
    affected: int = 0
    first: Difference | None = None


@dataclass
class _Counts:
    dialogues: int = 0
    answers: int = 0
    tokens: int = 0
    refused: int = 0
    refusal: str | None = None
    ways: dict[str, _Tally] = field(default_factory=lambda: {way: _Tally() for way in WAYS})


def _up_to_the_last_answer(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Nothing can be learnt after it, and a template may take a user's goodbye for a new turn."""
    answers = [position for position, message in enumerate(messages) if isinstance(message, AssistantMessage)]
    return tuple(messages[: answers[-1] + 1] if answers else messages)


def audit(
    dialogues: Iterable[Dialogue], tokenizer: PreTrainedTokenizerBase, kwargs: Mapping[str, Any] | None = None
) -> Audit:
    """Audit dialogues with the tokenizer's chat template and its variables `kwargs`. Every assistant message counts,
    imported ones as well. Raises UserError if the tokenizer cannot locate tokens in a text."""
    if not tokenizer.is_fast:
        raise UserError(f"{tokenizer.name_or_path} has no fast tokenizer, which an audit needs to locate tokens")
    markers = has_markers(tokenizer)
    counts = _Counts()
    for source in dialogues:
        dialogue = source.model_copy(update={"given": 0, "messages": _up_to_the_last_answer(source.messages)})
        try:
            template = DialogueTemplate(dialogue, tokenizer, kwargs or {})
            served = served_answers(template)
            texts = {way: list(trained_texts(way, template, markers)) for way in WAYS}
        except RenderError as error:
            counts.refused += 1
            counts.refusal = counts.refusal or str(error)
            continue
        counts.dialogues += 1
        counts.answers += len(served)
        counts.tokens += sum(len(answer.tokens) - answer.prompt for answer in served)
        for way, found in texts.items():
            for text in found:
                _count(counts.ways[way], text, served, template)
    ways = [
        WayAudit(
            way=way,
            description=WAYS[way],
            trained_tokens=tally.trained,
            unserved_tokens=tally.unserved,
            prompt_tokens=tally.of_prompt,
            answers=tally.answers,
            affected_answers=tally.affected,
            first=tally.first,
        )
        for way, tally in counts.ways.items()
    ]
    return Audit(
        dialogues=counts.dialogues,
        answers=counts.answers,
        answer_tokens=counts.tokens,
        markers=markers,
        refused=counts.refused,
        refusal=counts.refusal,
        ways=tuple(ways),
    )


def is_served(text: TrainedText, served: Sequence[ServedAnswer]) -> Mask:
    """[T] whether the context of each token of the text is one in which a server lets the model write."""
    result = np.zeros(len(text.tokens), bool)
    for answer in served:
        end = min(common_length(text.tokens, answer.tokens) + 1, len(answer.tokens))
        result[answer.prompt : end] = True
    return result


def _count(tally: _Tally, text: TrainedText, served: Sequence[ServedAnswer], template: DialogueTemplate) -> None:
    own = {answer.position: answer for answer in served}
    allowed = is_served(text, served)
    for position, first, end in text.runs:
        if (answer := own.get(position)) and first < answer.prompt:
            given = max(first, min(end, answer.prompt, common_length(text.tokens, answer.tokens)))
            tally.of_prompt += given - first
            allowed[first:given] = True
        unserved = int((~allowed[first:end]).sum())
        tally.trained += end - first
        tally.unserved += unserved
        tally.answers += 1
        tally.affected += unserved > 0
        if unserved and tally.first is None:
            tally.first = _difference(text, position, first + int(np.argmin(allowed[first:end])), served, template)


def _difference(
    text: TrainedText, position: int, token: int, served: Sequence[ServedAnswer], template: DialogueTemplate
) -> Difference:
    """Where the text leaves the served answer at `position` or, if that is unknown (-1), the one that it follows
    longest. `token` is the first one with another context."""
    context = text.tokens[: token + 1]
    candidates = [answer for answer in served if position in (-1, answer.position)]
    answer = max(candidates, key=lambda answer: common_length(context, answer.tokens))
    at = common_length(text.tokens, answer.tokens)

    def shown(tokens: Ints, between: str = "") -> str:
        parts = [tokens.tolist()] if not between else [[token] for token in tokens.tolist()]
        return between.join(str(template.tokenizer.decode(part)) for part in parts)

    following = text.tokens[at : at + SHOWN_AFTER], answer.tokens[at : at + SHOWN_AFTER]
    trained, expected = map(shown, following)
    if trained.startswith(expected) or expected.startswith(trained):
        trained, expected = (shown(tokens, "|") for tokens in following)  # the same text in other tokens
    return Difference(
        dialogue_id=template.dialogue.dialogue_id,
        message=answer.position,
        before=shown(text.tokens[max(0, at - SHOWN_BEFORE) : at]),
        trained=trained,
        served=expected,
    )
