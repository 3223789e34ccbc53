"""Synthetic dialogues of random tokens, the training data of bench-tree and bench-gpu."""

from __future__ import annotations

import random
from dataclasses import dataclass

from training.render import Sample
from training.token_tree import TokenTree, merge, side_by_side, single_chain

PREFIX, USER, REASONING, CALL, RESULT, ANSWER = 4000, 60, 300, 60, 150, 120
"""Tokens of system message and tools together, of a request, and of a step: reasoning and call (both trained) and
result; the last step of a turn has an answer instead."""

STEPS = 2.5
"""Assistant messages per request, including the answer: alternately two and three."""


@dataclass(frozen=True)
class SyntheticDialogue:
    """A dialogue of random tokens."""

    turns: int
    """User turns."""

    scale: float
    """Factor for all lengths."""

    vocabulary: int
    """Tokens to draw from."""

    seed: int = 0

    def samples(self) -> list[Sample]:
        """As a server sees them: every turn with its own reasoning and without earlier reasoning."""
        return self._render(keep_reasoning=False)

    def keep_all(self) -> list[Sample]:
        """One sample with all reasoning, which is never served."""
        return self._render(keep_reasoning=True)[-1:]

    def _render(self, keep_reasoning: bool) -> list[Sample]:
        draw = random.Random(f"{self.turns}/{self.seed}")

        def words(count: int) -> list[int]:
            return [draw.randrange(8, self.vocabulary) for _ in range(max(1, round(count * self.scale)))]

        history, samples, learnt = words(PREFIX), [], list[int]()
        for turn in range(self.turns):
            history += words(USER)
            ids, trained = list(history), list(learnt) if keep_reasoning else []
            steps = 2 + turn % 2
            for step in range(steps):
                reasoning, text = words(REASONING), words(CALL if step < steps - 1 else ANSWER)
                result = words(RESULT) if step < steps - 1 else []
                # The token before the reasoning separates a branch from the trunk, which continues without reasoning.
                ids += [1]
                trained += range(len(ids) + 1, len(ids) + 1 + len(reasoning) + len(text))
                ids += [2, *reasoning, *text, *result]
                history += [1, *text, *result]
            samples.append(Sample("synthetic", turn, ids, trained))
            if keep_reasoning:
                history, learnt = list(ids), trained
        return samples


def training_layouts(dialogue: SyntheticDialogue, row_tokens: int) -> dict[str, list[TokenTree]]:
    """The rows of one dialogue in three layouts: one tree; separate turns packed into rows of `row_tokens`; all
    reasoning kept."""
    turns = [single_chain(sample) for sample in dialogue.samples()]
    rows: list[list[TokenTree]] = [[]]
    for turn in turns:
        if rows[-1] and sum(tree.size for tree in rows[-1]) + turn.size > row_tokens:
            rows.append([])
        rows[-1].append(turn)
    return {
        "tree": [merge(dialogue.samples())],
        "turns": [side_by_side(row) for row in rows],
        "keep_all": [single_chain(*dialogue.keep_all())],
    }


def count_tokens(rows: list[TokenTree]) -> int:
    return sum(row.size for row in rows)


def count_trained(rows: list[TokenTree]) -> int:
    return sum(len(row.trained) for row in rows)
