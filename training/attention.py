"""Attention over a token tree: every token sees its path to the root, and nothing else.

The keys and values of each chain's path from the root are gathered into one sequence. A chain is then an ordinary
causal sequence with queries for its last positions only, which variable-length attention kernels support (they align
the causal mask at the bottom right). There are three kernels: FlashAttention-2, the flash kernel that PyTorch ships,
and scaled-dot-product attention one chain at a time, which runs on a CPU.

transformers passes the keyword arguments of the model's call, here the output of `layout`, to every layer, also under
gradient checkpointing.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn.attention.bias import causal_lower_right
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from core.settings import UserError
from training.settings import Attention
from training.token_tree import TokenTree

HAS_FLASH_ATTN = importlib.util.find_spec("flash_attn") is not None

if HAS_FLASH_ATTN:
    from flash_attn import flash_attn_varlen_func

Layout = dict[str, Any]


def layout(tree: TokenTree) -> Layout:
    """Keyword arguments of the model's call for a tree of T tokens in C chains: `position_ids` [1, T]; the boundaries
    of the chains among the queries, `cu_seq_lens_q` [C + 1], and of their paths among the keys, `cu_seq_lens_k` [C +
    1]; `key_index` [S], the token of each key (None if every path is a single chain); and the longest chain and
    path."""
    paths = tree.paths()
    lengths_q, lengths_k = tree.ends() - tree.starts, np.array([len(path) for path in paths])
    unbranched = bool((tree.parents < 0).all())
    return {
        "position_ids": torch.from_numpy(tree.depths())[None],
        "cu_seq_lens_q": _bounds(lengths_q),
        "cu_seq_lens_k": _bounds(lengths_k),
        "key_index": None if unbranched else torch.from_numpy(np.concatenate(paths)),
        "max_length_q": int(lengths_q.max()),
        "max_length_k": int(lengths_k.max()),
    }


def implementation(attention: Attention) -> str:
    """The kernel's name in transformers, for `attn_implementation`. It must not contain "flash": transformers would
    look for one of its own kernels."""
    return f"tree_{'fa2' if attention == 'flash_attention_2' else attention}"


def check_attention(attention: Attention) -> None:
    """Raises UserError if this machine cannot run `attention`."""
    if attention == "sdpa":
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
        max_length_q: int,
        max_length_k: int,
        **unused: Any,
    ) -> tuple[torch.Tensor, None]:
        # Under autocast the rotation leaves queries and keys in fp32, but not the values.
        queries, keys, values = (tensor[0].transpose(0, 1).to(value.dtype) for tensor in (query, key, value))
        if key_index is not None:
            keys, values = keys.index_select(0, key_index), values.index_select(0, key_index)
        output = kernel(queries, keys, values, cu_seq_lens_q, cu_seq_lens_k, max_length_q, max_length_k, scaling)
        return output[None], None

    return attend


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
    grouped = query.shape[1] != key.shape[1]
    output = varlen_attn(
        query, key, value, bounds_q, bounds_k, max_q, max_k, scale=scaling, window_size=(-1, 0), enable_gqa=grouped
    )
    assert isinstance(output, torch.Tensor), "without return_aux the result is one tensor"
    return output


def _bounds(lengths: np.ndarray[Any, Any]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


KERNELS: dict[Attention, Kernel] = {"sdpa": _sdpa, "torch_varlen": _torch_varlen, "flash_attention_2": _flash_attn}

# No mask function is registered under these names, so transformers creates no mask.
for _name, _kernel in KERNELS.items():
    AttentionInterface.register(implementation(_name), tree_attention(_kernel))
