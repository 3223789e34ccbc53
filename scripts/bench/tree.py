"""make bench-tree: training a dialogue as one token tree, as separate user turns, and with all reasoning kept, on a
CPU.

The synthetic dialogue has 4k tokens of system message and tools, and 2.5 steps per turn with 300 tokens of reasoning
each. Tokens are counted at full length. Times are CPU seconds of forward and backward passes of small models at `scale`
of the length, chosen so that attention has the same share of the FLOPs as in Qwen3-4B at full length; the layouts
alternate. Losses and gradients are compared with transformers' own, one user turn at a time.
"""

from __future__ import annotations

import statistics
import time
from typing import Any, Literal

import torch
from pydantic import Field
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM, set_seed

from scripts.bench.benchmark import BenchSettings, Metric, Report, main
from scripts.bench.exactness import largest_relative_error, reference_gradients, tree_gradients
from scripts.bench.synthetic_dialogues import SyntheticDialogue, count_tokens, count_trained, training_layouts
from training.attention.choice import implementation
from training.loss import learn_trees
from training.token_tree import TokenTree
from training.trainer import collate

VOCABULARY = 2048
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "max_position_embeddings": 65536,
    "use_cache": False,
}
EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 384, "norm_topk_prob": True}

Kind = Literal["dense", "moe"]


class TreeSettings(BenchSettings):
    """Settings of bench-tree."""

    turns: tuple[int, ...] = Field(default=(1, 4, 10, 20), description="user turns of the dialogues")
    scale: float = Field(
        default=0.125, gt=0, le=1, description="length of the timed dialogues, as a share of the full length"
    )
    row_tokens: int = Field(default=32_768, description="capacity of a row of separate turns, in tokens at full length")
    repeats: int = Field(default=5, description="measurements of each layout; the median ratio counts")


def build_model(kind: Kind, attention: str) -> PreTrainedModel:
    """A small model with random weights."""
    set_seed(0)
    sizes = {**SIZES, "attn_implementation": attention}
    if kind == "dense":
        return Qwen3ForCausalLM(Qwen3Config(**sizes))
    return Qwen3MoeForCausalLM(Qwen3MoeConfig(**sizes, **EXPERTS))


def relative_errors(kind: Kind, dialogue: SyntheticDialogue) -> tuple[float, float]:
    """The relative errors of a tree's loss and of its worst parameter gradient, compared with transformers' own sdpa
    attention on one user turn at a time, in fp32."""
    samples = dialogue.samples()
    count = sum(len(sample.trained) for sample in samples)
    loss, gradients = reference_gradients(build_model(kind, "sdpa"), samples, count)
    ours, our_gradients = tree_gradients(
        build_model(kind, implementation("sdpa")), [training_layouts(dialogue, 1)["tree"]], count
    )
    return abs(ours - loss) / loss, largest_relative_error(our_gradients, gradients)


def cpu_seconds(model: PreTrainedModel, rows: list[TokenTree]) -> float:
    """CPU seconds of forward and backward passes over the rows."""
    batches = [collate([[row]]) for row in rows]
    started = time.process_time()
    for batch in batches:
        model(**batch)["loss"].backward()
    spent = time.process_time() - started
    model.zero_grad()
    return spent


def measure(settings: TreeSettings) -> Report:
    torch.set_num_threads(1)
    metrics, notes = token_counts(settings)
    kinds: tuple[Kind, ...] = ("dense", "moe")
    for kind in kinds:
        timed = learn_trees(build_model(kind, implementation("sdpa")))
        for turns in settings.turns:
            times = layout_times(timed, turns, settings)
            speedup = statistics.median(
                separate / tree for separate, tree in zip(times["turns"], times["tree"], strict=True)
            )
            target = {1: 0.91, 10: 3.0 if kind == "dense" else 2.0}.get(turns)
            name = f"{kind}, {turns} turns: separate turns over tree, CPU seconds"
            if target is not None:
                metrics.append(Metric(name=name, value=speedup, target=target, better="higher"))
            loss, gradient = relative_errors(kind, SyntheticDialogue(turns, settings.scale, VOCABULARY))
            metrics += [
                Metric(name=f"{kind}, {turns} turns: loss, relative error", value=loss, target=1e-6, better="lower"),
                Metric(name=f"{kind}, {turns} turns: gradient, error", value=gradient, target=1e-5, better="lower"),
            ]
            medians = {layout: f"{statistics.median(seconds):.3g}" for layout, seconds in times.items()}
            notes[name] = f"{speedup:.2f}; seconds: {medians}"
    return Report(name="tree", inputs=settings.model_dump(mode="json"), metrics=tuple(metrics), notes=notes)


def token_counts(settings: TreeSettings) -> tuple[list[Metric], dict[str, Any]]:
    """Tokens of each layout at full length."""
    metrics: list[Metric] = []
    notes: dict[str, Any] = {}
    for turns in settings.turns:
        layouts = training_layouts(SyntheticDialogue(turns, 1.0, VOCABULARY), settings.row_tokens)
        counts = ", ".join(f"{layout} {count_tokens(rows):,}" for layout, rows in layouts.items())
        notes[f"tokens at {turns} turns"] = f"{counts}, trained {count_trained(layouts['tree']):,}"
        if turns == 10:
            ratio = count_tokens(layouts["tree"]) / count_trained(layouts["tree"])
            metrics.append(
                Metric(name="forwarded over trained tokens, 10 turns", value=ratio, target=2.2, better="lower")
            )
    return metrics, notes


def layout_times(model: PreTrainedModel, turns: int, settings: TreeSettings) -> dict[str, list[float]]:
    """CPU seconds of each layout, measured alternately after a warm-up."""
    dialogue = SyntheticDialogue(turns, settings.scale, VOCABULARY)
    layouts = training_layouts(dialogue, round(settings.row_tokens * settings.scale))
    for rows in layouts.values():
        cpu_seconds(model, rows)
    times: dict[str, list[float]] = {layout: [] for layout in layouts}
    for _ in range(settings.repeats):
        for layout, rows in layouts.items():
            times[layout].append(cpu_seconds(model, rows))
    return times


if __name__ == "__main__":
    main(TreeSettings, measure)
