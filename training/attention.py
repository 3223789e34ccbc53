"""Attention over a token tree: every token sees its path to the root, and nothing else (design.md, "Exactness in training").

The keys and values of each chain's root path are gathered into one sequence; then a chain is an ordinary causal sequence
whose queries are its last ones, which variable-length attention kernels compute as they are (a causal mask is aligned at the
bottom right). Three of them can be chosen: FlashAttention-2, the flash kernel that PyTorch ships, and
scaled-dot-product attention a chain at a time, which runs on a CPU.

transformers hands what `layout` returns from the model's call down to every layer, also under gradient checkpointing.
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
    """What a model's call needs to compute a tree of T tokens in C chains, beside its tokens: `position_ids` [1, T]; the
    bounds of the chains among the queries, `cu_seq_lens_q` [C + 1], and of their paths among the keys, `cu_seq_lens_k` [C + 1];
    `key_index`, the token that each key is (None where every path is its chain alone); and the longest of both."""
    paths = tree.paths()
    lengths_q, lengths_k = tree.ends() - tree.starts, np.array([len(path) for path in paths])
    whole = bool((tree.parents < 0).all())
    return {
        "position_ids": torch.from_numpy(tree.depths())[None],
        "cu_seq_lens_q": _bounds(lengths_q),
        "cu_seq_lens_k": _bounds(lengths_k),
        "key_index": None if whole else torch.from_numpy(np.concatenate(paths)),
        "max_length_q": int(lengths_q.max()),
        "max_length_k": int(lengths_k.max()),
    }


def implementation(attention: Attention) -> str:
    """The name under which transformers knows the kernel; `attn_implementation` of from_pretrained. Behind a name with "flash" in
    it transformers would look for a kernel of its own."""
    return f"tree_{'fa2' if attention == 'flash_attention_2' else attention}"


def check_attention(attention: Attention) -> None:
    """Raise UserError if this machine cannot run `attention`."""
    if attention == "sdpa":
        return
    if not torch.cuda.is_available():
        raise UserError(f"attention={attention} needs a CUDA GPU, and there is none here: say attention=sdpa")
    if attention == "flash_attention_2" and not HAS_FLASH_ATTN:
        raise UserError(
            "attention=flash_attention_2 needs the flash-attn package: pip install '.[flash]', or say "
            "attention=torch_varlen, the flash kernel that comes with PyTorch"
        )


def by_chain(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    scaling: float,
    cu_seq_lens_q: torch.Tensor,
    cu_seq_lens_k: torch.Tensor,
    key_index: torch.Tensor | None,
    **unused: Any,
) -> tuple[torch.Tensor, None]:
    """query [1, H, T, D], key and value [1, G, T, D] -> [1, T, H, D], with PyTorch's scaled-dot-product attention."""
    if key_index is not None:
        key, value = key.index_select(2, key_index), value.index_select(2, key_index)
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    asked, seen = cu_seq_lens_q.diff().tolist(), cu_seq_lens_k.diff().tolist()
    outputs = []
    parts = zip(torch.split(query, asked, 2), torch.split(key, seen, 2), torch.split(value, seen, 2), strict=True)
    for own, keys, values in parts:
        length, path = own.shape[2], keys.shape[2]
        # A chain without a parent is plainly causal, which kernels know without a mask.
        mask = causal_lower_right(length, path) if length < path else None
        outputs.append(
            scaled_dot_product_attention(own, keys, values, attn_mask=mask, is_causal=mask is None, scale=scaling)
        )
    return torch.cat(outputs, 2).transpose(1, 2), None


Kernel = Callable[..., torch.Tensor]


def at_once(kernel: Kernel) -> Callable[..., tuple[torch.Tensor, None]]:
    """The same by a variable-length kernel that computes all chains in one call, from [T, H, D] and the bounds of chains."""

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
        asked, keys, values = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
        if key_index is not None:
            keys, values = keys.index_select(0, key_index), values.index_select(0, key_index)
        output = kernel(asked, keys, values, cu_seq_lens_q, cu_seq_lens_k, max_length_q, max_length_k, scaling)
        return output[None], None

    return attend


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
    assert isinstance(output, torch.Tensor), "without return_aux it is one tensor"
    return output


def _bounds(lengths: np.ndarray[Any, Any]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


# No mask is registered under these names, and so transformers makes none.
AttentionInterface.register(implementation("sdpa"), by_chain)
AttentionInterface.register(implementation("torch_varlen"), at_once(_torch_varlen))
AttentionInterface.register(implementation("flash_attention_2"), at_once(_flash_attn))
