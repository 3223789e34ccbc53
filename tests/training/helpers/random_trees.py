"""Samples and models to compare tree training with plain training: random tokens in the shape that Qwen3-Thinking
serves."""

from __future__ import annotations

import random

from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM, set_seed

from training.render import Sample

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
    """One sample per user turn: the history without reasoning, a question, then the trained reasoning and answer; every
    second turn takes two steps with a tool result between them."""
    draw = random.Random(f"{turns}/{seed}")

    def words(shortest: int, longest: int) -> list[int]:
        return [draw.randrange(10, VOCABULARY) for _ in range(draw.randint(shortest, longest))]

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
