"""Which attention a training uses, and what of it this machine can run.

transformers passes the keyword arguments of the model's call, here a row's layout, to every layer, also under gradient
checkpointing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from transformers import AttentionInterface

from core.settings import UserError
from training.attention import kernels
from training.attention.flex import flex_attend, flex_layout
from training.attention.gathered import Layout, layout, tree_attention
from training.settings import Attention
from training.token_tree import TokenTree

ATTEND: dict[Attention, Callable[..., tuple[torch.Tensor, None]]] = {
    **{name: tree_attention(kernel) for name, kernel in kernels.KERNELS.items()},
    "flex": flex_attend,
}
"""The attention functions, as transformers calls them."""


def implementation(attention: Attention) -> str:
    """The attention function's name in transformers, for `attn_implementation`. It must not contain "flash":
    transformers would look for one of its own kernels."""
    return f"tree_{'fa2' if attention == 'flash_attention_2' else attention}"


def layout_for(attention: Attention) -> Callable[[TokenTree], Layout]:
    """What makes the keyword arguments of the model's call of a row."""
    return flex_layout if attention == "flex" else layout


def kernel_for(attention: Attention | Literal["auto"]) -> Attention:
    """The attention that "auto" means on this machine."""
    if attention != "auto":
        return attention
    if not torch.cuda.is_available():
        return "sdpa"
    return "flash_attention_2" if kernels.HAS_FLASH_ATTN else "torch_varlen"


def check_attention(attention: Attention | Literal["auto"]) -> None:
    """Raises UserError if this machine cannot train with `attention`."""
    if attention in ("auto", "sdpa"):
        return
    if not torch.cuda.is_available():
        raise UserError(f"attention={attention} needs a CUDA GPU, and this machine has none: use attention=sdpa")
    if attention == "flash_attention_2" and not kernels.HAS_FLASH_ATTN:
        raise UserError(
            "attention=flash_attention_2 needs the flash-attn package: pip install '.[flash]', or use "
            "attention=torch_varlen, the flash kernel that comes with PyTorch"
        )
    if attention == "torch_varlen_fa4":
        kernels.check_flash_4()


# No mask function is registered under these names, so transformers creates no mask.
for _name, _attend in ATTEND.items():
    AttentionInterface.register(implementation(_name), _attend)
