"""make bench-tree: a dialogue trained as one token tree, beside every user turn by itself and all reasoning kept, on a CPU.

The dialogue is design.md's: 4k tokens of system and tools, 2.5 steps a turn with 300 tokens of reasoning each. Tokens are counted
at full length. Times are those of small models at `scale` of the length, chosen so that attention has the same share of
the FLOPs as in Qwen3-4B at full length; they are CPU seconds of forward and backward, the ways taken in turn. Losses and
gradients are held against transformers' own, one user turn at a time.
"""

from __future__ import annotations

import statistics
import time
from typing import Any, Literal

import torch
from pydantic import Field
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM, set_seed

from scripts.bench.exactness import by_rows, furthest, one_by_one
from scripts.bench.report import BenchSettings, Figure, Report, main
from scripts.bench.synthetic_dialogues import Turns, tokens, trained, ways
from training.attention import implementation
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
    """User turns of the dialogues, `scale` of the timed ones' lengths, and the row that single turns are packed into, in tokens
    at full length. `repeats` are pairs of runs, of which the median ratio counts."""

    turns: tuple[int, ...] = (1, 4, 10, 20)
    scale: float = Field(default=0.125, gt=0, le=1)
    row_tokens: int = 32_768
    repeats: int = 5


def model(kind: Kind, attention: str) -> PreTrainedModel:
    """Of random weights."""
    set_seed(0)
    sizes = {**SIZES, "attn_implementation": attention}
    if kind == "dense":
        return Qwen3ForCausalLM(Qwen3Config(**sizes))
    return Qwen3MoeForCausalLM(Qwen3MoeConfig(**sizes, **EXPERTS))


def errors(kind: Kind, made: Turns) -> tuple[float, float]:
    """Of the loss, and of the gradient of the parameter that is furthest: a tree's against those of transformers' own sdpa
    attention, one user turn at a time, in fp32; both relative."""
    samples = made.samples()
    count = sum(len(sample.trained) for sample in samples)
    loss, gradients = one_by_one(model(kind, "sdpa"), samples, count)
    ours, our_gradients = by_rows(model(kind, implementation("sdpa")), [ways(made, 1)["tree"]], count)
    return abs(ours - loss) / loss, furthest(our_gradients, gradients)


def seconds(trained_model: PreTrainedModel, rows: list[TokenTree]) -> float:
    """CPU seconds of forward and backward over the rows."""
    batches = [collate([[row]]) for row in rows]
    began = time.process_time()
    for batch in batches:
        trained_model(**batch)["loss"].backward()
    spent = time.process_time() - began
    trained_model.zero_grad()
    return spent


def measure(settings: TreeSettings) -> Report:
    torch.set_num_threads(1)
    figures: list[Figure] = []
    notes: dict[str, Any] = {}
    counts = {turns: ways(Turns(turns, 1.0, VOCABULARY), settings.row_tokens) for turns in settings.turns}
    for turns, rows in counts.items():
        notes[f"tokens at {turns} turns"] = ", ".join(f"{way} {tokens(row):,}" for way, row in rows.items())
        notes[f"tokens at {turns} turns"] += f", trained {trained(rows['tree']):,}"
        if turns == 10:
            share = tokens(rows["tree"]) / trained(rows["tree"])
            figures.append(
                Figure(name="forwarded over trained tokens, 10 turns", value=share, target=2.2, better="lower")
            )
    kinds: tuple[Kind, ...] = ("dense", "moe")
    for kind in kinds:
        timed = learn_trees(model(kind, implementation("sdpa")))
        for turns in settings.turns:
            rows = ways(Turns(turns, settings.scale, VOCABULARY), round(settings.row_tokens * settings.scale))
            spent = {way: [seconds(timed, rows[way])] for way in rows}  # the first of each warms up
            for _ in range(settings.repeats):
                for way in rows:
                    spent[way].append(seconds(timed, rows[way]))
            taken = {way: times[1:] for way, times in spent.items()}
            faster = statistics.median(
                single / tree for single, tree in zip(taken["turns"], taken["tree"], strict=True)
            )
            target = {1: 0.91, 10: 3.0 if kind == "dense" else 2.0}.get(turns)
            name = f"{kind}, {turns} turns: single turns over tree, CPU seconds"
            if target is not None:
                figures.append(Figure(name=name, value=faster, target=target, better="higher"))
            loss, gradient = errors(kind, Turns(turns, settings.scale, VOCABULARY))
            figures += [
                Figure(name=f"{kind}, {turns} turns: loss, relative error", value=loss, target=1e-6, better="lower"),
                Figure(name=f"{kind}, {turns} turns: gradient, error", value=gradient, target=1e-5, better="lower"),
            ]
            medians = {way: f"{statistics.median(times):.3g}" for way, times in taken.items()}
            notes[name] = f"{faster:.2f}; seconds: {medians}"
    return Report(name="tree", inputs=settings.model_dump(mode="json"), figures=tuple(figures), notes=notes)


if __name__ == "__main__":
    main(TreeSettings, measure)
