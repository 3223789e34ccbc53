"""Samples and models to hold tree training against plain training: shaped as Qwen3-Thinking serves them, of random tokens."""

from __future__ import annotations

import random

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM, set_seed

from training.objective import learn_trees
from training.render import Sample
from training.trainer import collate
from training.trie import Tree

VOCABULARY = 320
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 4096,
    "initializer_range": 0.08,
}
EXPERTS = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "norm_topk_prob": True}


def served(turns: int, seed: int = 0, system: int = 40) -> list[Sample]:
    """A user turn each: the history without reasoning, a question, then reasoning and an answer, which are trained; at every
    second turn in two steps with a tool's result between."""
    draw = random.Random(f"{turns}/{seed}")

    def words(least: int, most: int) -> list[int]:
        return [draw.randrange(10, VOCABULARY) for _ in range(draw.randint(least, most))]

    history, samples = words(system, system), []
    for turn in range(turns):
        ids = [*history, *words(2, 9)]
        plain = list(ids)
        trained: list[int] = []
        for _ in range(1 + turn % 2):
            reasoning, answer, result = words(1, 20), words(1, 12), words(1, 8)
            ids += [1]
            trained += range(len(ids) + 1, len(ids) + 1 + len(reasoning) + len(answer))
            ids += [2, *reasoning, *answer, *result]
            plain += [1, *answer, *result]
        samples.append(Sample(f"dialogue-{seed}", turn, ids, trained))
        history = plain
    return samples


def dense(attention: str) -> PreTrainedModel:
    set_seed(0)
    return Qwen3ForCausalLM(Qwen3Config(**SIZES, attn_implementation=attention, use_cache=False))


def moe(attention: str) -> PreTrainedModel:
    set_seed(0)
    return Qwen3MoeForCausalLM(Qwen3MoeConfig(**SIZES, **EXPERTS, attn_implementation=attention, use_cache=False))


Gradients = dict[str, torch.Tensor]


def one_by_one(model: PreTrainedModel, samples: list[Sample], count: int) -> tuple[float, Gradients]:
    """The N-sample way with nothing of ours: transformers' own attention, whole logits, sums over `count` tokens."""
    model.zero_grad()
    total = 0.0
    for sample in samples:
        ids = torch.tensor([sample.input_ids])
        logits = model(ids).logits[0, [position - 1 for position in sample.trained]]
        loss = cross_entropy(logits, ids[0, sample.trained], reduction="sum") / count
        loss.backward()
        total += loss.item()
    return total, gradients(model)


def by_rows(model: PreTrainedModel, rows: list[list[Tree]], count: int) -> tuple[float, Gradients]:
    """The same by our rows of trees."""
    learn_trees(model).zero_grad()
    losses = [model(**collate([row]), num_items_in_batch=count)["loss"] for row in rows]
    torch.stack(losses).sum().backward()
    return sum(loss.item() for loss in losses), gradients(model)


def gradients(model: PreTrainedModel) -> Gradients:
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def furthest(ours: Gradients, theirs: Gradients) -> float:
    """The largest relative distance of any parameter's gradient."""
    assert ours.keys() == theirs.keys()
    return max(float((ours[name] - theirs[name]).norm() / theirs[name].norm()) for name in theirs)
