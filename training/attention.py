"""Attention over a token tree: every token sees its path to the root, and nothing else.

The keys and values of each chain's path from the root are gathered into one sequence. A chain is then an ordinary
causal sequence with queries for its last positions only, which variable-length attention kernels support (they align
the causal mask at the bottom right). There are three kernels: FlashAttention-2, the flash kernel that PyTorch ships,
and scaled-dot-product attention one chain at a time, which runs on a CPU.

The paths of a tree of many turns are many times as long as the tree. A row whose paths exceed KEYS_AT_ONCE is therefore
attended to a few chains at a time, and each part gathers its keys again in the backward pass.

transformers passes the keyword arguments of the model's call, here the output of `layout`, to every layer, also under
gradient checkpointing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch.nn.attention.bias import causal_lower_right
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface

from core.settings import UserError
from training.settings import Attention
from training.token_tree import TokenTree

try:
    # FlashAttention-4 is a package of the same name, without this function.
    from flash_attn import flash_attn_varlen_func
except ImportError:
    flash_attn_varlen_func = None

HAS_FLASH_ATTN = flash_attn_varlen_func is not None

# Before torch 2.12, grouped heads need no word.
_GROUPED: dict[str, Any] = {"enable_gqa": True} if "enable_gqa" in inspect.signature(varlen_attn).parameters else {}

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
    found = []
    first, chains = 0, len(bounds_q) - 1
    for end in range(1, chains + 1):
        if end == chains or bounds_k[end + 1] - bounds_k[first] > KEYS_AT_ONCE:
            queries, keys = (slice(bounds[first], bounds[end]) for bounds in (bounds_q, bounds_k))
            found.append(Part(queries, keys, slice(first, end + 1)))
            first = end
    return found


def implementation(attention: Attention) -> str:
    """The kernel's name in transformers, for `attn_implementation`. It must not contain "flash": transformers would
    look for one of its own kernels."""
    return f"tree_{'fa2' if attention == 'flash_attention_2' else attention}"


def kernel_for(attention: Attention | Literal["auto"]) -> Attention:
    """The kernel that "auto" means on this machine."""
    if attention != "auto":
        return attention
    if not torch.cuda.is_available():
        return "sdpa"
    return "flash_attention_2" if HAS_FLASH_ATTN else "torch_varlen"


def check_attention(attention: Attention | Literal["auto"]) -> None:
    """Raises UserError if this machine cannot run `attention`."""
    if attention in ("auto", "sdpa"):
        return
    if not torch.cuda.is_available():
        raise UserError(f"attention={attention} needs a CUDA GPU, and this machine has none: use attention=sdpa")
    if attention == "flash_attention_2" and not HAS_FLASH_ATTN:
        raise UserError(
            "attention=flash_attention_2 needs the flash-attn package: pip install '.[flash]', or use "
            "attention=torch_varlen, the flash kernel that comes with PyTorch"
        )


Kernel = Callable[..., torch.Tensor]
"""(query [T, H, D], key [S, G, D], value [S, G, D], query boundaries [C + 1], key boundaries [C + 1], longest chain,
longest path, scaling) -> [T, H, D]: causal attention of each chain over its path."""


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
        if key_index is None:
            bounds = (cu_seq_lens_q, cu_seq_lens_k, max_length_q, max_length_k)
            return kernel(queries, keys, values, *bounds, scaling)[None], None
        of_paths = _over_paths(kernel, scaling, max_length_q, max_length_k)
        outputs = []
        for part in parts:
            arguments = (
                queries[part.queries],
                keys,
                values,
                key_index[part.keys],
                cu_seq_lens_q[part.bounds] - part.queries.start,
                cu_seq_lens_k[part.bounds] - part.keys.start,
            )
            # Otherwise the keys of all parts would stay in memory until the backward pass.
            alone = len(parts) == 1
            outputs.append(of_paths(*arguments) if alone else checkpoint(of_paths, *arguments, use_reentrant=False))
        return torch.cat(outputs)[None], None

    return attend


def _over_paths(kernel: Kernel, scaling: float, max_q: int, max_k: int) -> Callable[..., torch.Tensor]:
    """The kernel on keys and values [T, G, D] of a row, of which `index` [S] gathers the paths."""

    def attend(
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        index: torch.Tensor,
        bounds_q: torch.Tensor,
        bounds_k: torch.Tensor,
    ) -> torch.Tensor:
        paths = (_Gather.apply(tensor, index) for tensor in (keys, values))  # type: ignore[no-untyped-call]
        return kernel(queries, *paths, bounds_q, bounds_k, max_q, max_k, scaling)

    return attend


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


def _sdpa(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bounds_q: torch.Tensor,
    bounds_k: torch.Tensor,
    max_q: int,
    max_k: int,
    scaling: float,
) -> torch.Tensor:
    """PyTorch's scaled-dot-product attention, one chain at a time."""
    groups = query.shape[1] // key.shape[1]
    lengths, path_lengths = bounds_q.diff().tolist(), bounds_k.diff().tolist()
    parts = (torch.split(query, lengths), torch.split(key, path_lengths), torch.split(value, path_lengths))
    outputs = []
    for queries, *path in zip(*parts, strict=True):
        keys, values = (tensor.transpose(0, 1).repeat_interleave(groups, 0)[None] for tensor in path)
        length, path_length = len(queries), keys.shape[2]
        # A chain without a parent is plainly causal, which kernels support without a mask.
        mask = causal_lower_right(length, path_length) if length < path_length else None
        output = scaled_dot_product_attention(
            queries.transpose(0, 1)[None], keys, values, attn_mask=mask, is_causal=mask is None, scale=scaling
        )
        outputs.append(output[0].transpose(0, 1))
    return torch.cat(outputs)


def _flash_attn(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bounds_q: torch.Tensor,
    bounds_k: torch.Tensor,
    max_q: int,
    max_k: int,
    scaling: float,
) -> torch.Tensor:
    output: torch.Tensor = flash_attn_varlen_func(
        query, key, value, bounds_q, bounds_k, max_q, max_k, softmax_scale=scaling, causal=True
    )
    return output


def _torch_varlen(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bounds_q: torch.Tensor,
    bounds_k: torch.Tensor,
    max_q: int,
    max_k: int,
    scaling: float,
) -> torch.Tensor:
    grouped = _GROUPED if query.shape[1] != key.shape[1] else {}
    output = varlen_attn(
        query, key, value, bounds_q, bounds_k, max_q, max_k, scale=scaling, window_size=(-1, 0), **grouped
    )
    assert isinstance(output, torch.Tensor), "without return_aux the result is one tensor"
    return output


def _bounds(lengths: np.ndarray[Any, Any]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


KERNELS: dict[Attention, Kernel] = {"sdpa": _sdpa, "torch_varlen": _torch_varlen, "flash_attention_2": _flash_attn}

# No mask function is registered under these names, so transformers creates no mask.
for _name, _kernel in KERNELS.items():
    AttentionInterface.register(implementation(_name), tree_attention(_kernel))
