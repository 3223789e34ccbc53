"""What the usual ways of training make of a dialogue: token sequences and which of their tokens are trained.

All of them give the dialogue to the chat template and train what the assistant wrote, but differ in what they leave of
earlier reasoning, and in which answers they train. The token trees of this project are among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from core.messages import AssistantMessage, UserMessage
from training.render import DialogueTemplate, render
from training.token_tree import Ints, build_trees

Mask = NDArray[np.bool_]

ALL_TURNS = "all turns, reasoning kept"
MASK = "assistant mask"
LAST_TURN = "last turn only"
TREES = "token trees (ours)"
WAYS = {
    ALL_TURNS: "one text with the reasoning of every answer; every answer is trained",
    MASK: "one text as the template renders it; every answer is trained, by the template's generation markers, "
    "or without markers from the assistant's header to the end of turn",
    LAST_TURN: "one text as the template renders it; the answers after the last user message are trained",
    TREES: "the token trees of `make train`",
}
ANY_LENGTH = 1 << 40


@dataclass(frozen=True)
class ServedAnswer:
    """An answer as it is served: the tokens of prompt and answer, of which the first `prompt` are the prompt's."""

    position: int
    tokens: Ints
    prompt: int


@dataclass(frozen=True)
class TrainedText:
    """A token sequence to train on, and its trained runs: (position of the answer, first token, one past the last)."""

    tokens: Ints
    runs: tuple[tuple[int, int, int], ...]


def has_markers(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the chat template marks what the assistant generates."""
    template = tokenizer.chat_template
    texts = template.values() if isinstance(template, dict) else [template or ""]
    return any("generation" in part.split("%}")[0].split() for text in texts for part in text.split("{%")[1:])


def served_answers(template: DialogueTemplate) -> list[ServedAnswer]:
    """Every answer with the tokens of its prompt, as a server renders and tokenises them. Raises RenderError."""
    served = []
    for answer in template.answers():
        prompt = template.tokens(answer.prompt)
        written, _ = template.tokens_after(answer.prompt, answer.written)
        served.append(ServedAnswer(answer.position, np.asarray(prompt + written, np.int64), len(prompt)))
    return served


def trained_texts(way: str, template: DialogueTemplate, markers: bool) -> Iterator[TrainedText]:
    """What a way of training makes of one dialogue. Raises RenderError."""
    if way == TREES:
        yield from _tree_paths(template)
    elif way == ALL_TURNS:
        text, spans = _kept_reasoning(template)
        yield _located(template, text, spans)
    elif way == MASK and markers:
        yield _marked(template)
    else:
        text, spans = _as_rendered(template)
        last = max(i for i, message in enumerate(template.dialogue.messages) if isinstance(message, UserMessage))
        yield _located(template, text, [span for span in spans if way == MASK or span[0] > last])


def _tree_paths(template: DialogueTemplate) -> Iterator[TrainedText]:
    """Each path of the dialogue's token tree, from the root to the end of a chain, with the chain's own runs."""
    samples = render(template.dialogue, template.tokenizer, ANY_LENGTH, chat_template_kwargs=template.kwargs).samples
    for tree in build_trees(samples, ANY_LENGTH) if samples else ():
        learnt = np.isin(np.arange(tree.size), tree.trained)
        for start, path in zip(tree.starts, tree.paths(), strict=True):
            own = learnt[path] & (path >= start)
            yield TrainedText(tree.input_ids[path], tuple((-1, first, end) for first, end in _runs(own)))


def _kept_reasoning(template: DialogueTemplate) -> tuple[str, list[tuple[int, int, int]]]:
    """The complete dialogue in one text with the reasoning of every answer, and for each answer its position and the
    place of what the model writes."""
    text, previous = "", None
    spans = []
    for answer in template.answers():
        text += answer.prompt if previous is None else template.prompt_after(previous, answer)
        spans.append((answer.position, len(text), len(text) + len(answer.written)))
        text += answer.written
        previous = answer.position
    return text, spans


def _marked(template: DialogueTemplate) -> TrainedText:
    """By the template's generation markers, as transformers finds them."""
    last = len(template.messages) - 1
    tools = [tool.openai() for tool in template.dialogue.tools_at(last)] or None
    encoded = template.tokenizer.apply_chat_template(
        template.messages, tools=tools, return_dict=True, return_assistant_tokens_mask=True, **template.kwargs
    )
    runs = _runs(np.asarray(encoded["assistant_masks"], bool))
    positions = [i for i, message in enumerate(template.dialogue.messages) if isinstance(message, AssistantMessage)]
    known = positions if len(positions) == len(runs) else [-1] * len(runs)
    tokens = np.asarray(encoded["input_ids"], np.int64)
    return TrainedText(tokens, tuple((position, *run) for position, run in zip(known, runs, strict=True)))


def _as_rendered(template: DialogueTemplate) -> tuple[str, list[tuple[int, int, int]]]:
    """The complete dialogue in one text, and for each answer its position and where it stands: from the first character
    that depends on it to the end of turn."""
    last = len(template.messages) - 1
    text = template.apply(template.messages, last, False)
    spans = []
    for position, message in enumerate(template.messages):
        if message["role"] != "assistant":
            continue
        content = "No" if str(message.get("content")).startswith("Y") else "Yes"
        other = {key: value for key, value in message.items() if key != "reasoning_content"} | {"content": content}
        changed = template.apply(
            [*template.messages[:position], other, *template.messages[position + 1 :]], last, False
        )
        pairs = enumerate(zip(text, changed, strict=False))
        start = next((index for index, (char, another) in pairs if char != another), len(text))
        end = text.find(template.eos, start)
        spans.append((position, start, len(text) if end < 0 else end + len(template.eos)))
    return text, spans


def _located(template: DialogueTemplate, text: str, spans: Sequence[tuple[int, int, int]]) -> TrainedText:
    """The text as one sequence of tokens; a token that overlaps an answer is trained."""
    encoded = template.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    starts, ends = np.asarray(encoded["offset_mapping"], np.int64).reshape(-1, 2).T
    runs = []
    for position, first, end in spans:
        touched = np.flatnonzero((ends > first) & (starts < end))
        if len(touched):
            runs.append((position, int(touched[0]), int(touched[-1]) + 1))
    return TrainedText(np.asarray(encoded["input_ids"], np.int64), tuple(runs))


def _runs(mask: Mask) -> list[tuple[int, int]]:
    """The runs of true values: (first, one past the last)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]
