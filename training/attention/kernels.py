"""Kernels of causal attention over sequences of different lengths: FlashAttention-2; the flash kernel that PyTorch
ships, and FlashAttention-4 in its place; and scaled-dot-product attention one sequence at a time, which runs on a
CPU."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple, get_args

import torch
from torch.nn.attention import activate_flash_attention_impl, current_flash_attention_impl, restore_flash_attention_impl
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention

from core.settings import UserError
from training.settings import Attention

try:
    # FlashAttention-4 is a package of the same name, without this function.
    from flash_attn import flash_attn_varlen_func
except ImportError:
    flash_attn_varlen_func = None

HAS_FLASH_ATTN = flash_attn_varlen_func is not None

FLASH_4 = "flash_attn.cute.interface"
"""The module of FlashAttention-4 that PyTorch calls."""

# Before torch 2.12 varlen_attn groups heads without this argument.
_GROUPED: dict[str, Any] = {"enable_gqa": True} if "enable_gqa" in inspect.signature(varlen_attn).parameters else {}


class Lengths(NamedTuple):
    """Which queries and keys belong together, in the order of the arguments of variable-length kernels."""

    bounds_q: torch.Tensor
    """[C + 1]: the boundaries of the chains among the queries."""

    bounds_k: torch.Tensor
    """[C + 1]: the boundaries of their paths among the keys."""

    max_q: int
    """The longest chain, or more."""

    max_k: int
    """The longest path, or more."""


Kernel = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Lengths, float], torch.Tensor]
"""(query [T, H, D], key [S, G, D], value [S, G, D], lengths, scaling) -> [T, H, D]: causal attention of each chain over
its path."""


def check_flash_4() -> None:
    """Raises UserError if PyTorch cannot use FlashAttention-4 on this machine's GPU."""
    major, minor = torch.cuda.get_device_capability()
    if major not in (9, 10):
        raise UserError(
            f"attention=torch_varlen_fa4 needs a GPU of compute capability 9 or 10 (Hopper, Blackwell), and this one "
            f"has {major}.{minor}: use attention=torch_varlen"
        )
    try:
        forward = import_module(FLASH_4)._flash_attn_fwd
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"attention=torch_varlen_fa4 needs the flash-attn-4 package (pip install '.[flash4]'), and importing "
            f"{FLASH_4} failed: {error}"
        ) from None
    results = len(get_args(inspect.signature(forward, eval_str=True).return_annotation))
    if results != 2:
        # PyTorch 2.13 unpacks the output and its log-sum-exp.
        raise UserError(
            f"attention=torch_varlen_fa4: the installed flash-attn-4 returns {results} tensors, and this PyTorch "
            "expects two, as up to 4.0.0b19: pip install '.[flash4]'"
        )


def _sdpa(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, lengths: Lengths, scaling: float
) -> torch.Tensor:
    """PyTorch's scaled-dot-product attention, one chain at a time."""
    groups = query.shape[1] // key.shape[1]
    of_chains, of_paths = lengths.bounds_q.diff().tolist(), lengths.bounds_k.diff().tolist()
    parts = (torch.split(query, of_chains), torch.split(key, of_paths), torch.split(value, of_paths))
    outputs = []
    for queries, *path in zip(*parts, strict=True):
        keys, values = (tensor.transpose(0, 1).repeat_interleave(groups, 0)[None] for tensor in path)
        length, path_length = len(queries), keys.shape[2]
        # A chain without a parent is plainly causal, which kernels support without a mask.
        mask = _lower_right(length, path_length, query.device) if length < path_length else None
        output = scaled_dot_product_attention(
            queries.transpose(0, 1)[None], keys, values, attn_mask=mask, is_causal=mask is None, scale=scaling
        )
        outputs.append(output[0].transpose(0, 1))
    return torch.cat(outputs)


def _lower_right(length: int, path_length: int, device: torch.device) -> torch.Tensor:
    """The mask [length, path_length] of the last `length` positions. PyTorch's CausalBias is the same as a subclass of
    Tensor, which cannot be created under the modes of training.attention.kept."""
    return torch.ones(length, path_length, dtype=torch.bool, device=device).tril(path_length - length)


def _flash_attn(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, lengths: Lengths, scaling: float
) -> torch.Tensor:
    output: torch.Tensor = flash_attn_varlen_func(query, key, value, *lengths, softmax_scale=scaling, causal=True)
    return output


def _torch_varlen(
    version: str | None,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    lengths: Lengths,
    scaling: float,
) -> torch.Tensor:
    """PyTorch's variable-length attention with its own flash kernel, or with the registered one of this `version`."""
    if current_flash_attention_impl() != version:
        activate_flash_attention_impl(version) if version else restore_flash_attention_impl()
    grouped = _GROUPED if query.shape[1] != key.shape[1] else {}
    output = varlen_attn(query, key, value, *lengths, scale=scaling, window_size=(-1, 0), **grouped)
    assert isinstance(output, torch.Tensor), "without return_aux the result is one tensor"
    return output


KERNELS: dict[Attention, Kernel] = {
    "sdpa": _sdpa,
    "torch_varlen": partial(_torch_varlen, None),
    "torch_varlen_fa4": partial(_torch_varlen, "FA4"),
    "flash_attention_2": _flash_attn,
}
