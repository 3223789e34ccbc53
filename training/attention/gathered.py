"""Tree attention by variable-length kernels, on gathered keys.

The keys and values of each chain's path from the root are gathered into one sequence. A chain is then an ordinary
causal sequence with queries for its last positions only, which variable-length attention kernels support (they align
the causal mask at the bottom right).

The paths of a tree of many turns are many times as long as the tree. A row whose paths exceed KEYS_AT_ONCE is therefore
attended to a few chains at a time, and each part gathers its keys again in the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from training.attention.kernels import Kernel, Lengths
from training.token_tree import TokenTree

KEYS_AT_ONCE = 1 << 18
"""Keys that attention gathers at a time, if no single path is longer: 1 GiB of bf16 keys and values with 8 heads of
128."""

Layout = dict[str, Any]


def layout(tree: TokenTree) -> Layout:
    """Keyword arguments of the model's call for a tree of T tokens in C chains: `position_ids` [1, T]; the boundaries
    of the chains among the queries, `cu_seq_lens_q` [C + 1], and of their paths among the keys, `cu_seq_lens_k` [C +
    1]; `key_index` [S], the token of each key (None if every path is a single chain); the `parts` whose keys are
    gathered at a time; and the longest chain and path."""
    paths = tree.paths()
    lengths_q, lengths_k = tree.ends() - tree.starts, np.array([len(path) for path in paths])
    unbranched = bool((tree.parents < 0).all())
    bounds_q, bounds_k = _bounds(lengths_q), _bounds(lengths_k)
    return {
        "position_ids": torch.from_numpy(tree.depths())[None],
        "cu_seq_lens_q": bounds_q,
        "cu_seq_lens_k": bounds_k,
        "key_index": None if unbranched else torch.from_numpy(np.concatenate(paths)),
        "parts": split(bounds_q.tolist(), bounds_k.tolist()),
        "max_length_q": int(lengths_q.max()),
        "max_length_k": int(lengths_k.max()),
    }


@dataclass(frozen=True)
class Part:
    """Consecutive chains of a row: slices of its tokens, of the keys of their paths, and of both boundaries."""

    queries: slice
    keys: slice
    bounds: slice


def split(bounds_q: Sequence[int], bounds_k: Sequence[int]) -> list[Part]:
    """The parts of a row with these boundaries, in order: as many chains as have at most KEYS_AT_ONCE keys, and a chain
    with a longer path alone."""
    parts = []
    first, chains = 0, len(bounds_q) - 1
    for end in range(1, chains + 1):
        if end == chains or bounds_k[end + 1] - bounds_k[first] > KEYS_AT_ONCE:
            queries, keys = (slice(bounds[first], bounds[end]) for bounds in (bounds_q, bounds_k))
            parts.append(Part(queries, keys, slice(first, end + 1)))
            first = end
    return parts


def tree_attention(kernel: Kernel) -> Callable[..., tuple[torch.Tensor, None]]:
    """An attention function for transformers, which prescribes its arguments: query [1, H, T, D], key and value [1, G,
    T, D], and the output of `layout` -> [1, T, H, D]."""

    def attend(
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: None,
        scaling: float,
        cu_seq_lens_q: torch.Tensor,
        cu_seq_lens_k: torch.Tensor,
        key_index: torch.Tensor | None,
        parts: Sequence[Part],
        max_length_q: int,
        max_length_k: int,
        **unused: Any,
    ) -> tuple[torch.Tensor, None]:
        # Under autocast the rotation leaves queries and keys in fp32, but not the values.
        queries, keys, values = (tensor[0].transpose(0, 1).to(value.dtype) for tensor in (query, key, value))
        whole = Lengths(cu_seq_lens_q, cu_seq_lens_k, max_length_q, max_length_k)
        if key_index is None:
            return kernel(queries, keys, values, whole, scaling)[None], None
        run: Callable[..., torch.Tensor] = _over_paths
        if len(parts) > 1:
            # Otherwise the keys of all parts would stay in memory until the backward pass.
            run = partial(checkpoint, _over_paths, use_reentrant=False)
        outputs = []
        for part in parts:
            lengths = whole._replace(
                bounds_q=cu_seq_lens_q[part.bounds] - part.queries.start,
                bounds_k=cu_seq_lens_k[part.bounds] - part.keys.start,
            )
            outputs.append(run(kernel, queries[part.queries], keys, values, key_index[part.keys], lengths, scaling))
        return torch.cat(outputs)[None], None

    return attend


def _over_paths(
    kernel: Kernel,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    index: torch.Tensor,
    lengths: Lengths,
    scaling: float,
) -> torch.Tensor:
    """The kernel on keys and values [T, G, D] of a row, of which `index` [S] gathers the paths."""
    key, value = (_Gather.apply(tensor, index) for tensor in (key, value))  # type: ignore[no-untyped-call]  # torch does not annotate it
    return kernel(query, key, value, lengths, scaling)


class _Gather(torch.autograd.Function):
    """Tokens of a [T, G, D] tensor by index. The gradients of a token that many paths have are added in fp32."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(index)
        ctx.tokens = len(tensor)
        return tensor.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (index,) = ctx.saved_tensors
        total = torch.zeros((ctx.tokens, *gradient.shape[1:]), dtype=torch.float32, device=gradient.device)
        return total.index_add_(0, index, gradient.float()).to(gradient.dtype), None


def _bounds(lengths: np.ndarray[Any, Any]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
