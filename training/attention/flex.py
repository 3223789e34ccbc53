"""Tree attention by FlexAttention: a mask instead of gathered keys.

A token sees a key of its own chain if the key is not later, and a key of another chain up to the token at which its
path leaves that chain: `last_seen`, one number for each pair of chains. Which blocks of the mask are empty or full
follows from counting, chain by chain, without the mask of all pairs of tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from training.attention.gathered import Layout
from training.token_tree import Ints, TokenTree

BLOCK = 128
"""Tokens on each side of a block, which FlexAttention computes or leaves out as a whole."""


def flex_layout(tree: TokenTree) -> Layout:
    """Keyword arguments of the model's call for a tree of T tokens in C chains and B blocks: `position_ids` [1, T];
    `chain_of` [T]; `last_seen` [C, C]; and `blocks`, arguments of BlockMask: for each block of queries, the number of
    blocks of keys that it sees in part and their indices, the same for those that it sees completely, and all of that
    for each block of keys."""
    counts = pairs_of_blocks(tree)
    full = counts == BLOCK * BLOCK
    partial = (counts > 0) & ~full
    blocks = _indices("kv", partial) | _indices("full_kv", full)
    blocks |= _indices("q", partial.T) | _indices("full_q", full.T)
    return {
        "position_ids": torch.from_numpy(tree.depths())[None],
        "chain_of": torch.from_numpy(np.repeat(np.arange(len(tree.starts)), tree.ends() - tree.starts)),
        "last_seen": torch.from_numpy(last_seen(tree)),
        "blocks": blocks,
    }


def last_seen(tree: TokenTree) -> Ints:
    """[C, C]: the last token of the second chain that the end of the first one sees; -1 if it sees none."""
    last = np.full((len(tree.starts), len(tree.starts)), -1, np.int64)
    for chain, (end, parent) in enumerate(zip(tree.ends(), tree.parents, strict=True)):
        if parent >= 0:
            above = int(np.searchsorted(tree.starts, parent, side="right")) - 1
            last[chain] = last[above]
            last[chain, above] = parent
        last[chain, chain] = end - 1
    return last


def pairs_of_blocks(tree: TokenTree) -> Ints:
    """[B, B]: the number of (token, token it sees) pairs in each block of queries and keys."""
    edges = np.arange(0, tree.size + BLOCK, BLOCK)
    counts = np.zeros((len(edges) - 1, len(edges) - 1), np.int64)

    def inside(first: int, end: int) -> Ints:
        """[B]: how many of the tokens from `first` to `end` are in each block."""
        overlap: Ints = (np.minimum(end, edges[1:]) - np.maximum(first, edges[:-1])).clip(min=0)
        return overlap

    for chain, (seen, start, end) in enumerate(zip(last_seen(tree), tree.starts, tree.ends(), strict=True)):
        above = [inside(tree.starts[other], seen[other] + 1) for other in np.flatnonzero(seen >= 0) if other != chain]
        path = np.sum(above, axis=0) if above else np.zeros(len(counts), np.int64)
        for block in range(start // BLOCK, (end - 1) // BLOCK + 1):
            first, last = max(start, edges[block]), min(end, edges[block + 1])
            tokens = last - first
            counts[block] += tokens * (path + inside(start, first))
            counts[block, block] += tokens * (tokens + 1) // 2
    return counts


def flex_attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    scaling: float,
    chain_of: torch.Tensor,
    last_seen: torch.Tensor,
    blocks: dict[str, Any],
    **unused: Any,
) -> tuple[torch.Tensor, None]:
    """An attention function for transformers: query [1, H, T, D], key and value [1, G, T, D], and the output of
    `flex_layout` -> [1, T, H, D]."""

    def visible(batch: torch.Tensor, head: torch.Tensor, token: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        return (seen <= token) & (seen <= last_seen[chain_of[token], chain_of[seen]])

    tokens = query.shape[2]
    mask = BlockMask((tokens, tokens), **blocks, BLOCK_SIZE=(BLOCK, BLOCK), mask_mod=visible)
    # Under autocast the rotation leaves queries and keys in fp32, but not the values.
    query, key = query.to(value.dtype), key.to(value.dtype)
    kernel: Callable[..., Any] = flex_attention
    if query.is_cuda:
        # Not compiled, it would compute the scores of all pairs of tokens.
        kernel = _compiled()
    grouped = query.shape[1] != key.shape[1]
    output = kernel(query, key, value, block_mask=mask, scale=scaling, enable_gqa=grouped)
    return output.transpose(1, 2), None


@cache
def _compiled() -> Callable[..., Any]:
    """Rows differ in their tokens and chains: one compilation for all of them."""
    return torch.compile(flex_attention, dynamic=True)


def _indices(name: str, seen: NDArray[np.bool_]) -> dict[str, torch.Tensor]:
    """How many blocks are seen in each line, [1, 1, B], and which, the others after them, [1, 1, B, B]."""
    lines = {"num_blocks": seen.sum(1), "indices": np.argsort(~seen, axis=1, kind="stable")}
    return {f"{name}_{key}": torch.from_numpy(value.astype(np.int32))[None, None] for key, value in lines.items()}
