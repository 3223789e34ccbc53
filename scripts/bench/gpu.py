"""make bench-gpu [variants=[liger,flex,…]]: tree training on one GPU, with the shapes of the paper's models and random
weights.

For each model: trained tokens per second of one tree compared with its user turns packed into rows of 32k tokens, and
the cosine of the bf16 gradients of tree and turns. Then a table of full rows, the baseline's and each variant's: speed,
model FLOPs utilisation (MFU), peak memory, and the cosine of the gradients with the baseline's. A variant that this
machine cannot run is listed with the reason. Forward and backward passes with gradient checkpointing; no optimizer
step, because its states do not fit one GPU for these models.
"""

from __future__ import annotations

from typing import Any

import torch

from core.settings import UserError
from scripts.bench.benchmark import Metric, Report, main
from scripts.bench.model_shapes import shape_of
from scripts.bench.synthetic_dialogues import SyntheticDialogue, count_tokens, count_trained, training_layouts
from scripts.bench.training_step import (
    GpuSettings,
    Gradients,
    Variant,
    build_model,
    cosine,
    full_row,
    gradients,
    time_rows,
)
from training.attention.choice import kernel_for
from training.attention.flex import pairs_of_blocks
from training.model_shape import ModelShape
from training.settings import Attention
from training.token_tree import TokenTree, side_by_side

SHAPES = {
    "qwen3_4b": shape_of("qwen3_4b"),
    "qwen3_30b_a3b": shape_of("qwen3_30b_a3b").model_copy(update={"layers": 8}),
}
"""Of the larger model, 8 of its 48 layers."""

TRAINED, SPEED, PEAK, COSINE = "trained tokens/s", "TFLOP/s", "peak GiB", "cosine"
"""Columns of the table."""


def measure_model(name: str, settings: GpuSettings) -> tuple[list[Metric], dict[str, Any], list[dict[str, Any]]]:
    """One model's metrics, notes, and lines of the table."""
    attention: Attention = "sdpa" if settings.device == "cpu" else kernel_for(settings.attention)
    baseline = Variant(attention, row_tokens=settings.row_tokens)
    variants = {variant: baseline.changed(variant) for variant in settings.variants}
    metrics, notes = tree_over_turns(name, baseline, settings)
    line, expected = full_row_line(SHAPES[name], baseline, settings, None)
    lines = [{"model": name, "variant": "baseline", "over baseline": 1.0, **line}]
    for variant, changed in variants.items():
        try:
            changed.check()
        except UserError as error:
            lines.append({"model": name, "variant": variant, "left out": str(error)})
            continue
        line, _ = full_row_line(SHAPES[name], changed, settings, expected)
        ratio = round(line[TRAINED] / lines[0][TRAINED], 3)
        lines.append({"model": name, "variant": variant, "over baseline": ratio, **line})
    metrics += table_metrics(name, settings, [line for line in lines if TRAINED in line])
    row = full_row(settings, settings.row_tokens, SHAPES[name].vocabulary // settings.shrink)
    blocks = round(100 * float((pairs_of_blocks(row) > 0).mean()), 1)
    notes[f"{name}: blocks of a full row that FlexAttention computes, %"] = blocks
    return metrics, notes, lines


def tree_over_turns(name: str, baseline: Variant, settings: GpuSettings) -> tuple[list[Metric], dict[str, Any]]:
    """One dialogue as a tree, and as separate turns."""
    model = build_model(SHAPES[name], baseline, settings.device, settings.shrink)
    dialogue = SyntheticDialogue(settings.turns, settings.scale, model.config.vocab_size)
    rows = training_layouts(dialogue, round(settings.row_tokens * settings.scale))
    tree_s, turns_s = (time_rows(model, rows[layout], baseline, settings) for layout in ("tree", "turns"))
    of_tree, of_turns = (gradients(model, rows[layout], baseline, settings.device) for layout in ("tree", "turns"))
    alike = cosine(of_tree, of_turns, settings.device)
    metrics = [
        Metric(name=f"{name}: trained tokens/s, tree over turns", value=turns_s / tree_s, target=3.0, better="higher"),
        Metric(name=f"{name}: cosine of the bf16 gradients", value=alike, target=0.9995, better="higher"),
    ]
    notes = {
        f"{name}: trained tokens/s of a tree": round(count_trained(rows["tree"]) / tree_s, 1),
        f"{name}: tokens": f"tree {count_tokens(rows['tree']):,}, turns {count_tokens(rows['turns']):,}",
    }
    return metrics, notes


def full_row_line(
    shape: ModelShape, variant: Variant, settings: GpuSettings, expected: Gradients | None
) -> tuple[dict[str, Any], Gradients]:
    """A line of the table, and the gradients that are compared with the `expected` ones."""
    model = build_model(shape, variant, settings.device, settings.shrink)
    row = full_row(settings, variant.row_tokens, model.config.vocab_size)
    if settings.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = time_rows(model, [row], variant, settings)
    line: dict[str, Any] = {
        "tokens": row.size,
        TRAINED: round(len(row.trained) / seconds, 1),
        "forwarded tokens/s": round(row.size / seconds, 1),
    }
    if settings.device == "cuda":
        tflops = 3e-12 * shape.flops(row.size, row.pairs(), len(row.trained)) / seconds
        line |= {SPEED: round(tflops, 1), "MFU": round(tflops / settings.peak_tflops, 4)}
        line |= {PEAK: round(torch.cuda.max_memory_allocated() / 2**30, 1)}
    actual = gradients(model, compared_rows(variant, settings, model.config.vocab_size), variant, settings.device)
    return line | {COSINE: 1.0 if expected is None else round(cosine(actual, expected, settings.device), 6)}, actual


def compared_rows(variant: Variant, settings: GpuSettings, vocabulary: int) -> list[TokenTree]:
    """The same two dialogues for every variant: in a row each, and in one if the variant's rows are longer."""
    dialogues = [SyntheticDialogue(settings.turns, settings.scale, vocabulary, seed) for seed in range(2)]
    trees = [training_layouts(dialogue, 10**9)["tree"][0] for dialogue in dialogues]
    return [side_by_side(trees)] if variant.row_tokens > settings.row_tokens else trees


def table_metrics(name: str, settings: GpuSettings, lines: list[dict[str, Any]]) -> list[Metric]:
    """The speed of the fastest line, and the lowest cosine of a variant."""
    metrics = []
    if settings.device == "cuda":
        # A mixture's small products cannot be as dense as the other model's: it is held to what others reach.
        speed = max(line[SPEED] for line in lines)
        target = 300.0 if SHAPES[name].experts else 0.45
        value = speed if SHAPES[name].experts else speed / settings.peak_tflops
        kind = "active TFLOP/s" if SHAPES[name].experts else "MFU"
        metrics.append(
            Metric(name=f"{name}: {kind} of a full row, best line", value=value, target=target, better="higher")
        )
    if len(lines) > 1:
        lowest = min(line[COSINE] for line in lines[1:])
        metrics.append(
            Metric(name=f"{name}: lowest cosine with the baseline", value=lowest, target=0.9995, better="higher")
        )
    return metrics


def measure(settings: GpuSettings) -> Report:
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "bench-gpu needs a CUDA GPU, and this machine has none; "
            "device=cpu shrink=32 scale=0.02 only tests that it runs"
        )
    for variant in settings.variants:
        Variant("sdpa").changed(variant)  # a misspelt one fails before anything is measured
    name = torch.cuda.get_device_name() if settings.device == "cuda" else "no GPU: the metrics mean nothing"
    metrics: list[Metric] = []
    notes: dict[str, Any] = {"attention": kernel_for(settings.attention), "device": name}
    lines: list[dict[str, Any]] = []
    for model in settings.models:
        model_metrics, model_notes, model_lines = measure_model(model, settings)
        metrics += model_metrics
        notes |= model_notes
        lines += model_lines
    inputs = settings.model_dump(mode="json")
    return Report(name="gpu", inputs=inputs, metrics=tuple(metrics), notes=notes, lines=tuple(lines))


if __name__ == "__main__":
    main(GpuSettings, measure)
