"""The samples of one dialogue as one token tree, in which shared prefixes are computed once.

A served dialogue of N user turns is N prompts: a trunk without reasoning, and for each turn a branch with reasoning.
Merged where their tokens agree, they form a tree. It is stored as *chains*: the longest sample, and from every other
one the tokens that it shares with no earlier sample. A token sees its chain up to itself, and the path from the chain's
parent to the root.

A row of several trees has the same form, and so has a single sample, which is one chain.
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
    """T tokens in C chains: one tree, or several side by side."""

    input_ids: Ints
    """[T]"""

    starts: Ints
    """[C]: chain c is the tokens from `starts[c]` to `starts[c + 1]`, the last one to T."""

    parents: Ints
    """[C]: the earlier token that the chain continues; -1 for the root chain of a tree."""

    trained: Ints
    """[K]: ascending positions of the tokens to learn."""

    @property
    def size(self) -> int:
        """T."""
        return len(self.input_ids)

    def ends(self) -> Ints:
        """[C]: one past the last token of each chain."""
        return np.append(self.starts[1:], self.size)

    def depths(self) -> Ints:
        """[T]: the number of tokens before each one on its path, which is its position in its sample."""
        depth = np.empty(self.size, np.int64)
        for start, end, parent in zip(self.starts, self.ends(), self.parents, strict=True):
            first = 0 if parent < 0 else depth[parent] + 1
            depth[start:end] = np.arange(first, first + end - start)
        return depth

    def paths(self) -> list[Ints]:
        """For each chain the tokens from the root to the chain's end, all of which its last token sees."""
        paths: list[Ints] = []
        for start, end, parent in zip(self.starts, self.ends(), self.parents, strict=True):
            path = np.arange(start, end)
            if parent >= 0:
                parent_chain = int(np.searchsorted(self.starts, parent, side="right")) - 1
                above = paths[parent_chain][: len(paths[parent_chain]) - (self.ends()[parent_chain] - 1 - parent)]
                path = np.concatenate([above, path])
            paths.append(path)
        return paths

    def sources(self) -> Ints:
        """[K]: for each trained token the position that predicts it: the token before it on its path."""
        sources = self.trained - 1
        chains = np.searchsorted(self.starts, self.trained)
        first = np.isin(self.trained, self.starts)
        sources[first] = self.parents[chains[first]]
        return sources

    def pairs(self) -> int:
        """The number of (token, token it sees) pairs that attention computes."""
        return int((self.depths() + 1).sum())


def single_chain(sample: Sample) -> TokenTree:
    """A tree of one sample. Its first token is never trained: nothing predicts it."""
    ids, trained = np.asarray(sample.input_ids, np.int64), np.asarray(sample.trained, np.int64)
    return TokenTree(ids, np.zeros(1, np.int64), np.full(1, -1, np.int64), trained)


def merge(samples: Sequence[Sample]) -> TokenTree:
    """One tree of samples with a common prefix. Its loss is the sum of theirs.

    Rendering trains no token in more than one sample; an assertion checks that, since the tree counts every token once.
    """
    assert samples, "a tree needs a sample"
    ordered = sorted(samples, key=lambda sample: -len(sample.input_ids))
    tokens = [np.asarray(sample.input_ids, np.int64) for sample in ordered]
    paths: list[Ints] = []
    pieces: list[Ints] = []
    parents: list[int] = []
    trained: list[Ints] = []
    size = 0
    for number, ids in enumerate(tokens):
        shared = [common_length(ids, other) for other in tokens[:number]]
        best = int(np.argmax(shared)) if shared else -1
        prefix = paths[best][: shared[best]] if shared else np.empty(0, np.int64)
        rest = ids[len(prefix) :]
        paths.append(np.concatenate([prefix, np.arange(size, size + len(rest))]))
        trained.append(paths[-1][ordered[number].trained])
        if len(rest):
            pieces.append(rest)
            parents.append(int(prefix[-1]) if len(prefix) else -1)
            size += len(rest)
    positions = np.sort(np.concatenate(trained))
    assert len(np.unique(positions)) == len(positions), "every token is trained once"
    lengths = np.array([len(piece) for piece in pieces])
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    return TokenTree(np.concatenate(pieces), starts, np.array(parents, np.int64), positions)


def build_trees(samples: Sequence[Sample], capacity: int) -> list[TokenTree]:
    """Merge consecutive samples into trees of at most `capacity` tokens, each as large as possible. No sample may be
    longer than that."""
    merged: list[TokenTree] = []
    group: list[Sample] = []
    for sample in samples:
        assert len(sample.input_ids) <= capacity, "over-long samples are cut by the rendering"
        grown = merge([*group, sample])
        if grown.size > capacity:
            merged.append(merge(group))
            group = []
        group.append(sample)
    return [*merged, merge(group)] if group else merged


def side_by_side(members: Sequence[TokenTree]) -> TokenTree:
    """Several trees as one row, in order; no token sees another tree."""
    offsets = np.cumsum([0, *(tree.size for tree in members)])[:-1]
    shifted = list(zip(members, offsets, strict=True))
    return TokenTree(
        np.concatenate([tree.input_ids for tree in members]),
        np.concatenate([tree.starts + offset for tree, offset in shifted]),
        np.concatenate([np.where(tree.parents < 0, -1, tree.parents + offset) for tree, offset in shifted]),
        np.concatenate([tree.trained + offset for tree, offset in shifted]),
    )


def common_length(ids: Ints, other: Ints) -> int:
    """The length of the common prefix."""
    length = min(len(ids), len(other))
    different = np.flatnonzero(ids[:length] != other[:length])
    return int(different[0]) if len(different) else length
