"""Forward and backward passes of models with random weights, as `make train` runs them, and variants of them: what
bench-gpu and gpu-check measure."""

from __future__ import annotations

import gc
import itertools
import time
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from accelerate.utils import send_to_device
from pydantic import Field
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM, set_seed

from core.settings import UserError, closest
from scripts.bench.benchmark import BenchSettings, median
from scripts.bench.synthetic_dialogues import SyntheticDialogue, count_trained, training_layouts
from training.attention.choice import check_attention, implementation
from training.attention.kept import checkpointing
from training.fused import check_fused, fuse
from training.loss import learn_trees
from training.model_shape import ModelShape
from training.settings import Attention, FusedKernels
from training.token_tree import TokenTree, side_by_side
from training.trainer import collate

Gradients = list[torch.Tensor]

CHANGES: dict[str, dict[str, Any]] = {
    "liger": {"fused_kernels": "liger"},
    "compile": {"fused_kernels": "compile"},
    "fa4": {"attention": "torch_varlen_fa4"},
    "row_65536": {"row_tokens": 65_536},
    "keep_attention": {"keep_attention": True},
    "flex": {"attention": "flex"},
}
"""Variants by name: the settings of make train that differ from the baseline's."""


class GpuSettings(BenchSettings):
    """Settings of bench-gpu."""

    device: Literal["cuda", "cpu"] = Field(default="cuda", description="cpu only tests that the benchmark runs")
    models: tuple[Literal["qwen3_4b", "qwen3_30b_a3b"], ...] = Field(
        default=("qwen3_4b", "qwen3_30b_a3b"), description="models to measure; of the larger one, 8 of its 48 layers"
    )
    attention: Attention | Literal["auto"] = Field(
        default="auto", description="auto: FlashAttention-2 if it is installed, otherwise PyTorch's own kernel"
    )
    variants: tuple[str, ...] = Field(
        default=tuple(CHANGES),
        description=f"each measured alone against the baseline: {', '.join(CHANGES)}; or several at once, with + between "
        "them",
    )
    turns: int = Field(default=10, description="user turns of the dialogue")
    scale: float = Field(default=1.0, gt=0, le=1, description="length of the dialogue, as a share of the full length")
    row_tokens: int = Field(default=32_768, description="capacity of the baseline's row, in tokens at full length")
    peak_tflops: float = Field(default=989.0, description="the GPU's peak speed in bf16, in TFLOP/s")
    shrink: int = Field(default=1, ge=1, description="divide the models' dimensions by this")


@dataclass(frozen=True)
class Variant:
    """The settings of make train that a measurement varies."""

    attention: Attention
    fused_kernels: FusedKernels = "none"
    keep_attention: bool = False
    row_tokens: int = 32_768

    def changed(self, name: str) -> Variant:
        """This with the changes of a variant's name. Raises UserError for an unknown one."""
        changed = self
        for part in name.split("+"):
            if part not in CHANGES:
                raise UserError(f"variants={name}: {closest(part, list(CHANGES))}")
            changed = replace(changed, **CHANGES[part])
        return changed

    def check(self) -> None:
        """Raises UserError if this machine cannot run it."""
        if self.keep_attention and self.attention == "flex":
            raise UserError("keep_attention does not work with flex")
        check_attention(self.attention)
        check_fused(self.fused_kernels)


def build_model(shape: ModelShape, variant: Variant, device: str, shrink: int) -> PreTrainedModel:
    """A model with random weights in bf16, always the same ones, with gradient checkpointing."""
    gc.collect()  # frees the previous model, which its patched calls reference in a cycle
    set_seed(0)
    common: dict[str, Any] = {
        "vocab_size": shape.vocabulary // shrink,
        "hidden_size": shape.hidden // shrink,
        "num_hidden_layers": max(1, shape.layers // shrink),
        "num_attention_heads": shape.heads // min(shrink, shape.kv_heads),
        "num_key_value_heads": shape.kv_heads // min(shrink, shape.kv_heads),
        "head_dim": shape.head_dim,
        "intermediate_size": shape.intermediate // shrink,
        "max_position_embeddings": 65_536,
        "tie_word_embeddings": shape.tied,
        "use_cache": False,
        "attn_implementation": implementation(variant.attention),
    }
    with torch.device(device):
        if shape.experts:
            experts = {
                "num_experts": shape.experts // shrink,
                "num_experts_per_tok": min(shape.experts_per_token, shape.experts // shrink),
                "moe_intermediate_size": shape.expert_intermediate // shrink,
                "experts_implementation": "grouped_mm" if device == "cuda" else "eager",
            }
            model: PreTrainedModel = Qwen3MoeForCausalLM(Qwen3MoeConfig(**common, **experts))
        else:
            model = Qwen3ForCausalLM(Qwen3Config(**common))
    model = fuse(model.to(torch.bfloat16).train(), variant.fused_kernels)
    model.gradient_checkpointing_enable(checkpointing(variant.keep_attention))
    return learn_trees(model)


def run_rows(model: PreTrainedModel, rows: list[TokenTree], variant: Variant, device: str) -> None:
    """Forward and backward passes over all rows; gradients of the mean loss over their trained tokens."""
    model.zero_grad(set_to_none=True)
    for row in rows:
        batch = send_to_device(collate([[row]], variant.attention), torch.device(device))
        model(**batch, num_items_in_batch=count_trained(rows))["loss"].backward()


def time_rows(model: PreTrainedModel, rows: list[TokenTree], variant: Variant, settings: GpuSettings) -> float:
    """Seconds of the forward and backward passes over the rows."""

    def once() -> float:
        started = time.perf_counter()
        run_rows(model, rows, variant, settings.device)
        if settings.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    once()  # warm-up: selects and compiles kernels, and allocates memory
    return median(once, settings.repeats)


def gradients(model: PreTrainedModel, rows: list[TokenTree], variant: Variant, device: str) -> Gradients:
    """Of all parameters, in host memory."""
    run_rows(model, rows, variant, device)
    return [parameter.grad.cpu() for parameter in model.parameters()]


def cosine(first: Gradients, second: Gradients, device: str) -> float:
    """The cosine of two gradients, over all parameters together."""
    sums = torch.zeros(3, dtype=torch.float64)
    for pair in zip(first, second, strict=True):
        a, b = (gradient.to(device).float() for gradient in pair)
        sums += torch.stack([(a * b).sum(), a.square().sum(), b.square().sum()]).double().cpu()
    return float(sums[0] / (sums[1] * sums[2]).sqrt())


def full_row(settings: GpuSettings, row_tokens: int, vocabulary: int) -> TokenTree:
    """A row filled with trees of different dialogues."""
    members, size, capacity = list[TokenTree](), 0, round(row_tokens * settings.scale)
    turns = itertools.cycle((settings.turns, 4, 2, 1, 1, 1))
    for seed, number in zip(range(6 * -(-row_tokens // 32_768)), turns, strict=False):
        (tree,) = training_layouts(SyntheticDialogue(number, settings.scale, vocabulary, seed), capacity)["tree"]
        if size + tree.size <= capacity:
            members.append(tree)
            size += tree.size
    return side_by_side(members)
