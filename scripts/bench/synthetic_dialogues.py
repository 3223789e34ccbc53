"""Made-up dialogues of design.md's shape, as samples of random tokens: what bench-tree and bench-gpu train on."""

from __future__ import annotations

import random
from dataclasses import dataclass

from training.render import Sample
from training.token_tree import TokenTree, merge, side_by_side, single_chain

PREFIX, USER, REASONING, CALL, RESULT, ANSWER = 4000, 60, 300, 60, 150, 120
"""Tokens of system message and tools together, of a request, and of what a step adds: reasoning and a call, which are trained, and
its result; the last step of a turn answers instead."""

STEPS = 2.5
"""Assistant messages that follow a request, the answer among them: by turns two and three."""


@dataclass(frozen=True)
class Turns:
    """A dialogue of so many user turns, all lengths times `scale`; `vocabulary` tokens are drawn from."""

    turns: int
    scale: float
    vocabulary: int
    seed: int = 0

    def samples(self) -> list[Sample]:
        """As a server sees them: every turn with its own reasoning and none of those before."""
        return self._render(keep=False)

    def keep_all(self) -> list[Sample]:
        """One sample in which all reasoning stays, which is never served."""
        return self._render(keep=True)[-1:]

    def _render(self, keep: bool) -> list[Sample]:
        draw = random.Random(f"{self.turns}/{self.seed}")

        def words(count: int) -> list[int]:
            return [draw.randrange(8, self.vocabulary) for _ in range(max(1, round(count * self.scale)))]

        history, samples, learnt = words(PREFIX), [], list[int]()
        for turn in range(self.turns):
            history += words(USER)
            ids, trained = list(history), list(learnt) if keep else []
            steps = 2 + turn % 2
            for step in range(steps):
                reasoning, said = words(REASONING), words(CALL if step < steps - 1 else ANSWER)
                result = words(RESULT) if step < steps - 1 else []
                # The mark of the thinking sets a branch apart from the trunk, which goes on without it.
                ids += [1]
                trained += range(len(ids) + 1, len(ids) + 1 + len(reasoning) + len(said))
                ids += [2, *reasoning, *said, *result]
                history += [1, *said, *result]
            samples.append(Sample("made up", turn, ids, trained))
            if keep:
                history, learnt = list(ids), trained
        return samples


def ways(made: Turns, row_tokens: int) -> dict[str, list[TokenTree]]:
    """The rows of one dialogue: one tree; every turn by itself, packed into rows of `row_tokens`; all reasoning kept."""
    single = [single_chain(sample) for sample in made.samples()]
    rows: list[list[TokenTree]] = [[]]
    for each in single:
        if rows[-1] and sum(tree.size for tree in rows[-1]) + each.size > row_tokens:
            rows.append([])
        rows[-1].append(each)
    return {
        "tree": [merge(made.samples())],
        "turns": [side_by_side(row) for row in rows],
        "keep_all": [single_chain(*made.keep_all())],
    }


def tokens(rows: list[TokenTree]) -> int:
    return sum(row.size for row in rows)


def trained(rows: list[TokenTree]) -> int:
    return sum(len(row.trained) for row in rows)
