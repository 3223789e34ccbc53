"""make bench-gpu: tree training on one GPU, with the shapes of the paper's models and random weights.

For each model: trained tokens per second of one tree compared with its user turns packed into rows of 32k tokens, the
model FLOPs utilisation (MFU) and peak memory of a full row, and the cosine of the bf16 gradients of tree and turns.
Forward and backward passes with gradient checkpointing; no optimizer step, because its states do not fit one GPU for
these models.
"""

from __future__ import annotations

import gc
import time
from typing import Any, Literal

import torch
from pydantic import Field
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM, set_seed

from core.settings import UserError
from scripts.bench.benchmark import BenchSettings, Metric, Report, main, median
from scripts.bench.model_shapes import shape_of
from scripts.bench.synthetic_dialogues import SyntheticDialogue, count_tokens, count_trained, training_layouts
from training.attention.choice import implementation, kernel_for
from training.loss import learn_trees
from training.model_shape import ModelShape
from training.settings import Attention
from training.token_tree import TokenTree, side_by_side
from training.trainer import collate

SHAPES = {
    "qwen3_4b": shape_of("qwen3_4b"),
    "qwen3_30b_a3b": shape_of("qwen3_30b_a3b").model_copy(update={"layers": 8}),
}
"""Of the larger model, 8 of its 48 layers."""


class GpuSettings(BenchSettings):
    """Settings of bench-gpu."""

    device: Literal["cuda", "cpu"] = Field(default="cuda", description="cpu only tests that the benchmark runs")
    models: tuple[Literal["qwen3_4b", "qwen3_30b_a3b"], ...] = Field(
        default=("qwen3_4b", "qwen3_30b_a3b"), description="models to measure; of the larger one, 8 of its 48 layers"
    )
    attention: Attention | Literal["auto"] = Field(
        default="auto", description="auto: FlashAttention-2 if it is installed, otherwise PyTorch's own kernel"
    )
    turns: int = Field(default=10, description="user turns of the dialogue")
    scale: float = Field(default=1.0, gt=0, le=1, description="length of the dialogue, as a share of the full length")
    row_tokens: int = Field(default=32_768, description="capacity of a row, in tokens at full length")
    peak_tflops: float = Field(default=989.0, description="the GPU's peak speed in bf16, in TFLOP/s")
    shrink: int = Field(default=1, ge=1, description="divide the models' dimensions by this")


def build_model(shape: ModelShape, attention: Attention, device: str, shrink: int) -> PreTrainedModel:
    """A model with random weights in bf16, with gradient checkpointing."""
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
        "attn_implementation": implementation(attention),
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
    model = model.to(torch.bfloat16).train()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    return learn_trees(model)


def run_rows(model: PreTrainedModel, rows: list[TokenTree], count: int, device: str) -> None:
    """Forward and backward passes over all rows; gradients of the mean loss over `count` trained tokens."""
    model.zero_grad(set_to_none=True)
    for row in rows:
        batch = {k: v.to(device) if torch.is_tensor(v) else v for k, v in collate([[row]]).items()}
        model(**batch, num_items_in_batch=count)["loss"].backward()


def time_rows(model: PreTrainedModel, rows: list[TokenTree], settings: GpuSettings) -> float:
    """Seconds of the forward and backward passes over the rows."""

    def once() -> float:
        started = time.perf_counter()
        run_rows(model, rows, count_trained(rows), settings.device)
        if settings.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    once()  # warm-up: selects kernels and allocates memory
    return median(once, settings.repeats)


def gradient_cosine(model: PreTrainedModel, rows: list[TokenTree], other: list[TokenTree], device: str) -> float:
    """The cosine of the gradients of two sets of rows, over all parameters together."""
    run_rows(model, rows, count_trained(rows), device)
    gradients = [parameter.grad.cpu() for parameter in model.parameters()]
    run_rows(model, other, count_trained(other), device)
    sums = torch.zeros(3, dtype=torch.float64)
    for gradient, parameter in zip(gradients, model.parameters(), strict=True):
        first, second = gradient.to(device).float(), parameter.grad.float()
        sums += torch.stack([(first * second).sum(), first.square().sum(), second.square().sum()]).double().cpu()
    return float(sums[0] / (sums[1] * sums[2]).sqrt())


def full_row(settings: GpuSettings, vocabulary: int) -> TokenTree:
    """A row filled with trees of different dialogues."""
    members, size, capacity = list[TokenTree](), 0, round(settings.row_tokens * settings.scale)
    for seed, turns in enumerate((settings.turns, 4, 2, 1, 1, 1)):
        (tree,) = training_layouts(SyntheticDialogue(turns, settings.scale, vocabulary, seed), capacity)["tree"]
        if size + tree.size <= capacity:
            members.append(tree)
            size += tree.size
    return side_by_side(members)


def measure_model(
    name: str, shape: ModelShape, attention: Attention, settings: GpuSettings
) -> tuple[list[Metric], dict[str, Any]]:
    """One model's metrics and notes."""
    gc.collect()  # frees the previous model, which its patched calls reference in a cycle
    model = build_model(shape, attention, settings.device, settings.shrink)
    vocabulary = model.config.vocab_size
    rows = training_layouts(
        SyntheticDialogue(settings.turns, settings.scale, vocabulary), round(settings.row_tokens * settings.scale)
    )
    tree_s, turns_s = (time_rows(model, rows[layout], settings) for layout in ("tree", "turns"))
    cosine = gradient_cosine(model, rows["tree"], rows["turns"], settings.device)
    full = full_row(settings, vocabulary)
    if settings.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    row_s = time_rows(model, [full], settings)
    metrics = [
        Metric(name=f"{name}: trained tokens/s, tree over turns", value=turns_s / tree_s, target=3.0, better="higher"),
        Metric(name=f"{name}: cosine of the bf16 gradients", value=cosine, target=0.9995, better="higher"),
    ]
    notes: dict[str, Any] = {
        f"{name}: trained tokens/s of a tree": round(count_trained(rows["tree"]) / tree_s, 1),
        f"{name}: forwarded tokens/s of a full row": round(full.size / row_s, 1),
        f"{name}: tokens": f"tree {count_tokens(rows['tree']):,}, turns {count_tokens(rows['turns']):,}, "
        f"full row {full.size:,}",
    }
    if settings.device == "cuda":
        flops = 3.0 * shape.flops(full.size, full.pairs(), len(full.trained))
        utilisation = flops / row_s / (settings.peak_tflops * 1e12)
        metrics.append(Metric(name=f"{name}: MFU of a full row", value=utilisation, target=0.45, better="higher"))
        notes[f"{name}: peak memory of a full row, GiB"] = round(torch.cuda.max_memory_allocated() / 2**30, 1)
    return metrics, notes


def measure(settings: GpuSettings) -> Report:
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "bench-gpu needs a CUDA GPU, and this machine has none; "
            "device=cpu shrink=32 scale=0.02 only tests that it runs"
        )
    attention: Attention = "sdpa" if settings.device == "cpu" else kernel_for(settings.attention)
    name = torch.cuda.get_device_name() if settings.device == "cuda" else "no GPU: the metrics mean nothing"
    metrics: list[Metric] = []
    notes: dict[str, Any] = {"attention": attention, "device": name}
    for model in settings.models:
        model_metrics, model_notes = measure_model(model, SHAPES[model], attention, settings)
        metrics += model_metrics
        notes |= model_notes
    return Report(name="gpu", inputs=settings.model_dump(mode="json"), metrics=tuple(metrics), notes=notes)


if __name__ == "__main__":
    main(GpuSettings, measure)
