"""Norms, rotary positions and SwiGLU as one kernel each, in place of the many small ones that PyTorch runs.

Three functions of a loaded model are replaced: the forward of each RMSNorm and of each gated MLP, and the rotation of
queries and keys. A mixture of experts keeps its experts, which `model.experts` chooses. `liger` takes the kernels of
the liger-kernel package; `compile` lets PyTorch compile the three functions. Whole layers are not compiled: under
ZeRO-3 each submodule gathers its weights in a hook, at which a compiled graph would end.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.nn.functional import silu
from transformers import PreTrainedConfig, PreTrainedModel

from core.settings import UserError
from training.settings import FusedKernels

MODELS = ("llama", "qwen2", "qwen3", "qwen3_moe")
"""Model types whose norms, rotation and MLP are the functions here."""

ROTATION = "apply_rotary_pos_emb"
"""The rotation's name in every modelling module of transformers."""

Function = Callable[..., Any]


def check_fused(fused: FusedKernels) -> None:
    """Raises UserError if this machine cannot run `fused`."""
    if fused != "liger":
        return
    if not torch.cuda.is_available():
        raise UserError("fused_kernels=liger needs a CUDA GPU, and this machine has none: use fused_kernels=none")
    try:
        _liger()
    except ImportError as error:
        raise UserError(
            "fused_kernels=liger needs the liger-kernel package: pip install '.[liger]', or use "
            f"fused_kernels=compile ({error})"
        ) from None


def check_fused_model(config: PreTrainedConfig, fused: FusedKernels) -> None:
    """Raises UserError if a model with this configuration computes other functions than those here."""
    if fused == "none":
        return
    if config.model_type not in MODELS:
        raise UserError(
            f"fused_kernels={fused} supports models of type {', '.join(MODELS)}, and this one is {config.model_type}"
        )
    if config.hidden_act != "silu":
        raise UserError(
            f"fused_kernels={fused} supports MLPs with hidden_act=silu, and this model has {config.hidden_act}"
        )


def fuse(model: PreTrainedModel, fused: FusedKernels) -> PreTrainedModel:
    """Replace the functions in a loaded model; weights and their names stay. The rotation is replaced for all models of
    its type in this process, and "none" restores it. Raises UserError for a model that has other functions."""
    check_fused_model(model.config, fused)
    modelling = sys.modules[type(model).__module__]
    rotation: Any = getattr(modelling, ROTATION, None)
    rotation = getattr(rotation, "replaces", rotation)
    if fused != "none":
        norm, gate, fused_rotation = _liger() if fused == "liger" else _compiled(rotation)
        for module in model.modules():
            _replace(module, norm, gate)
        rotation = _replacement(fused_rotation, rotation)
    if rotation:
        setattr(modelling, ROTATION, rotation)
    return model


def _replace(module: nn.Module, norm: Function, gate: Function) -> None:
    """The forward of `module`, if it is a norm, or an MLP of plain projections."""
    if type(module).__name__.endswith("RMSNorm"):
        module.forward = MethodType(lambda self, states: norm(states, self.weight, self.variance_epsilon), module)
    elif isinstance(getattr(module, "gate_proj", None), nn.Linear):
        module.forward = MethodType(
            lambda self, states: self.down_proj(gate(self.gate_proj(states), self.up_proj(states))), module
        )


def _replacement(rotation: Function, original: Function) -> Function:
    def rotate(query: torch.Tensor, key: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> Any:
        return rotation(query, key, cos, sin)

    rotate.replaces = original  # type: ignore[attr-defined]  # what `fuse` reads to restore it
    return rotate


def _liger() -> tuple[Function, Function, Function]:
    """Norm, gate and rotation."""
    from liger_kernel.ops import LigerRMSNormFunction, LigerSiLUMulFunction  # noqa: PLC0415 - an optional package
    from liger_kernel.transformers.rope import liger_rotary_pos_emb  # noqa: PLC0415 - the same package

    return LigerRMSNormFunction.apply, LigerSiLUMulFunction.apply, liger_rotary_pos_emb


@cache
def _compiled(rotation: Function) -> tuple[Function, Function, Function]:
    """Norm, gate and rotation. Rows differ in their tokens: one compilation for all of them."""
    norm, gate, rotate = (torch.compile(function, dynamic=True) for function in (_norm, _gate, rotation))
    return norm, gate, rotate


def _norm(states: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    wide = states.float()
    return weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon)).to(states.dtype)


def _gate(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    return silu(gate) * up
