"""make bench-gpu: tree training on one GPU, with the shapes of the paper's models and random weights.

For each model: trained tokens a second of one tree beside its user turns packed into rows of 32k tokens, the model FLOPs
utilisation (MFU) and peak memory of a full row, and how the bf16 gradient of the tree points beside that of the turns. Forward and
backward with gradient checkpointing; no optimizer step, whose states one GPU cannot hold for these models.
"""

from __future__ import annotations

import gc
import time
from typing import Any, Literal

import torch
from pydantic import Field
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM, set_seed

from core.settings import UserError
from scripts.bench.model_shapes import shape_of
from scripts.bench.report import BenchSettings, Figure, Report, main, median
from scripts.bench.synthetic_dialogues import Turns, tokens, trained, ways
from training.attention import HAS_FLASH_ATTN, implementation
from training.loss import learn_trees
from training.model_shape import ModelShape
from training.settings import Attention
from training.token_tree import TokenTree, side_by_side
from training.trainer import collate

SHAPES = {
    "qwen3_4b": shape_of("qwen3_4b"),
    "qwen3_30b_a3b, 8 of 48 layers": shape_of("qwen3_30b_a3b").model_copy(update={"layers": 8}),
}


class GpuSettings(BenchSettings):
    """`attention` null takes FlashAttention-2 where it is installed, else PyTorch's own kernel. `peak_tflops` is the GPU's in bf16.
    On device=cpu the same runs with `shapes` scaled down by `shrink`, which shows that it runs."""

    device: Literal["cuda", "cpu"] = "cuda"
    attention: Attention | None = None
    turns: int = 10
    scale: float = Field(default=1.0, gt=0, le=1)
    row_tokens: int = 32_768
    peak_tflops: float = 989.0
    shrink: int = Field(default=1, ge=1)


def build(shape: ModelShape, attention: Attention, device: str, shrink: int) -> PreTrainedModel:
    """Of random weights in bf16, with gradient checkpointing."""
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
            made: PreTrainedModel = Qwen3MoeForCausalLM(Qwen3MoeConfig(**common, **experts))
        else:
            made = Qwen3ForCausalLM(Qwen3Config(**common))
    made = made.to(torch.bfloat16).train()
    made.gradient_checkpointing_enable({"use_reentrant": False})
    return learn_trees(made)


def run(model: PreTrainedModel, rows: list[TokenTree], count: int, device: str) -> None:
    """Forward and backward over all rows, gradients of the mean over `count` trained tokens."""
    model.zero_grad(set_to_none=True)
    for row in rows:
        batch = {k: v.to(device) if torch.is_tensor(v) else v for k, v in collate([[row]]).items()}
        model(**batch, num_items_in_batch=count)["loss"].backward()


def seconds(model: PreTrainedModel, rows: list[TokenTree], settings: GpuSettings) -> float:
    """Of a forward and backward pass over the rows, by the clock."""

    def once() -> float:
        began = time.perf_counter()
        run(model, rows, trained(rows), settings.device)
        if settings.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    once()  # kernels are chosen and memory is taken in the first
    return median(once, settings.repeats)


def cosine(model: PreTrainedModel, one: list[TokenTree], other: list[TokenTree], device: str) -> float:
    """Of the gradients of all parameters together."""
    run(model, one, trained(one), device)
    kept = [parameter.grad.cpu() for parameter in model.parameters()]
    run(model, other, trained(other), device)
    sums = torch.zeros(3, dtype=torch.float64)
    for before, parameter in zip(kept, model.parameters(), strict=True):
        ours, theirs = before.to(device).float(), parameter.grad.float()
        sums += torch.stack([(ours * theirs).sum(), ours.square().sum(), theirs.square().sum()]).double().cpu()
    return float(sums[0] / (sums[1] * sums[2]).sqrt())


def full_row(settings: GpuSettings, vocabulary: int) -> TokenTree:
    """A row of trees of different dialogues with as many tokens as fit."""
    members, size, capacity = list[TokenTree](), 0, round(settings.row_tokens * settings.scale)
    for seed, turns in enumerate((settings.turns, 4, 2, 1, 1, 1)):
        (tree,) = ways(Turns(turns, settings.scale, vocabulary, seed), capacity)["tree"]
        if size + tree.size <= capacity:
            members.append(tree)
            size += tree.size
    return side_by_side(members)


def of_shape(
    name: str, shape: ModelShape, attention: Attention, settings: GpuSettings
) -> tuple[list[Figure], dict[str, Any]]:
    """One model's figures and notes."""
    gc.collect()  # the model before: its patched calls refer to it in a circle
    model = build(shape, attention, settings.device, settings.shrink)
    vocabulary = model.config.vocab_size
    rows = ways(Turns(settings.turns, settings.scale, vocabulary), round(settings.row_tokens * settings.scale))
    tree_s, turns_s = (seconds(model, rows[way], settings) for way in ("tree", "turns"))
    alike = cosine(model, rows["tree"], rows["turns"], settings.device)
    full = full_row(settings, vocabulary)
    if settings.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    row_s = seconds(model, [full], settings)
    figures = [
        Figure(name=f"{name}: trained tokens/s, tree over turns", value=turns_s / tree_s, target=3.0, better="higher"),
        Figure(name=f"{name}: cosine of the bf16 gradients", value=alike, target=0.9995, better="higher"),
    ]
    notes: dict[str, Any] = {
        f"{name}: trained tokens/s of a tree": round(trained(rows["tree"]) / tree_s, 1),
        f"{name}: forwarded tokens/s of a full row": round(full.size / row_s, 1),
        f"{name}: tokens": f"tree {tokens(rows['tree']):,}, turns {tokens(rows['turns']):,}, full row {full.size:,}",
    }
    if settings.device == "cuda":
        flops = 3.0 * shape.flops(full.size, full.pairs(), len(full.trained))
        utilisation = flops / row_s / (settings.peak_tflops * 1e12)
        figures.append(Figure(name=f"{name}: MFU of a full row", value=utilisation, target=0.45, better="higher"))
        notes[f"{name}: peak memory of a full row, GiB"] = round(torch.cuda.max_memory_allocated() / 2**30, 1)
    return figures, notes


def measure(settings: GpuSettings) -> Report:
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "bench-gpu needs a CUDA GPU, and there is none here; device=cpu shrink=32 scale=0.02 only shows that it runs"
        )
    fitting: Attention = (
        "sdpa" if settings.device == "cpu" else "flash_attention_2" if HAS_FLASH_ATTN else "torch_varlen"
    )
    attention = settings.attention or fitting
    name = torch.cuda.get_device_name() if settings.device == "cuda" else "no GPU: the figures mean nothing"
    figures: list[Figure] = []
    notes: dict[str, Any] = {"attention": attention, "device": name}
    for model, shape in SHAPES.items():
        found, said = of_shape(model, shape, attention, settings)
        figures += found
        notes |= said
    return Report(name="gpu", inputs=settings.model_dump(mode="json"), figures=tuple(figures), notes=notes)


if __name__ == "__main__":
    main(GpuSettings, measure)
