"""The samples of one dialogue as one token tree: what they share is computed once (design.md, "Exactness in training").

A served dialogue of N user turns is N prompts: a trunk without reasoning, and a branch with reasoning for each turn. Merged
where their tokens agree, they are one tree. It is stored as *chains*: the first sample whole, of every other one what it
does not share with those before. A token sees its chain up to itself, and the path from the chain's parent to the root.

A forest, several trees in a row, has the same form; so has a single sample, which is one chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.render import Sample

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class TokenTree:
    """T tokens in C chains, or several trees side by side.

    `input_ids` [T]. Chain c is the tokens from `starts[c]` to `starts[c + 1]` (or T) and continues the token at `parents[c]`,
    which stands before it, or begins a tree where that is -1. `trained` are the rising positions of the tokens to be learnt.
    """

    input_ids: Ints
    starts: Ints
    parents: Ints
    trained: Ints

    @property
    def size(self) -> int:
        return len(self.input_ids)

    def ends(self) -> Ints:
        return np.append(self.starts[1:], self.size)

    def depths(self) -> Ints:
        """[T]: how many tokens stand before each one on its path, which is its position in its sample."""
        depth = np.empty(self.size, np.int64)
        for start, end, parent in zip(self.starts, self.ends(), self.parents, strict=True):
            first = 0 if parent < 0 else depth[parent] + 1
            depth[start:end] = np.arange(first, first + end - start)
        return depth

    def paths(self) -> list[Ints]:
        """For each chain the tokens from the root to the chain's end: what the chain's last token sees."""
        paths: list[Ints] = []
        for start, end, parent in zip(self.starts, self.ends(), self.parents, strict=True):
            own = np.arange(start, end)
            if parent >= 0:
                owner = int(np.searchsorted(self.starts, parent, side="right")) - 1
                above = paths[owner][: len(paths[owner]) - (self.ends()[owner] - 1 - parent)]
                own = np.concatenate([above, own])
            paths.append(own)
        return paths

    def sources(self) -> Ints:
        """[K]: for each trained token the one on whose output it is predicted, the token before it on its path."""
        before = self.trained - 1
        single_chain = np.searchsorted(self.starts, self.trained)
        first = np.isin(self.trained, self.starts)
        before[first] = self.parents[single_chain[first]]
        return before

    def pairs(self) -> int:
        """How many (token, token it sees) pairs attention computes."""
        return int((self.depths() + 1).sum())


def single_chain(sample: Sample) -> TokenTree:
    """A sample by itself. Its first token is never trained: nothing predicts it."""
    ids, trained = np.asarray(sample.input_ids, np.int64), np.asarray(sample.trained, np.int64)
    return TokenTree(ids, np.zeros(1, np.int64), np.full(1, -1, np.int64), trained)


def merge(samples: Sequence[Sample]) -> TokenTree:
    """One tree of samples with a common beginning. The loss over it is the sum of theirs: a token trained in several samples
    would have to count as often, which rendering excludes; an assertion says so."""
    assert samples, "a tree needs a sample"
    ordered = sorted(samples, key=lambda sample: -len(sample.input_ids))
    tokens = [np.asarray(sample.input_ids, np.int64) for sample in ordered]
    paths: list[Ints] = []
    pieces: list[Ints] = []
    parents: list[int] = []
    trained: list[Ints] = []
    size = 0
    for number, ids in enumerate(tokens):
        shared = [_common(ids, other) for other in tokens[:number]]
        best = int(np.argmax(shared)) if shared else -1
        kept = paths[best][: shared[best]] if shared else np.empty(0, np.int64)
        own = ids[len(kept) :]
        paths.append(np.concatenate([kept, np.arange(size, size + len(own))]))
        trained.append(paths[-1][ordered[number].trained])
        if len(own):
            pieces.append(own)
            parents.append(int(kept[-1]) if len(kept) else -1)
            size += len(own)
    positions = np.sort(np.concatenate(trained))
    assert len(np.unique(positions)) == len(positions), "every token is trained once"
    lengths = np.array([len(piece) for piece in pieces])
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    return TokenTree(np.concatenate(pieces), starts, np.array(parents, np.int64), positions)


def trees(samples: Sequence[Sample], capacity: int) -> list[TokenTree]:
    """As few trees of at most `capacity` tokens as their order allows. No sample may be longer than that."""
    made: list[TokenTree] = []
    group: list[Sample] = []
    for sample in samples:
        assert len(sample.input_ids) <= capacity, "over-long samples are cut when they are rendered"
        grown = merge([*group, sample])
        if grown.size > capacity:
            made.append(merge(group))
            group = []
        group.append(sample)
    return [*made, merge(group)] if group else made


def side_by_side(members: Sequence[TokenTree]) -> TokenTree:
    """Trees side by side, in their order; nothing is seen across them."""
    offsets = np.cumsum([0, *(tree.size for tree in members)])[:-1]
    both = list(zip(members, offsets, strict=True))
    return TokenTree(
        np.concatenate([tree.input_ids for tree in members]),
        np.concatenate([tree.starts + offset for tree, offset in both]),
        np.concatenate([np.where(tree.parents < 0, -1, tree.parents + offset) for tree, offset in both]),
        np.concatenate([tree.trained + offset for tree, offset in both]),
    )


def _common(one: Ints, other: Ints) -> int:
    """The length of the common beginning."""
    length = min(len(one), len(other))
    different = np.flatnonzero(one[:length] != other[:length])
    return int(different[0]) if len(different) else length
