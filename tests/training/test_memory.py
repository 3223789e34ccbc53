"""The planned memory of a training against counts by hand and a real model's tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.training.helpers.planned_trainings import built, settings
from training.attention.gathered import KEYS_AT_ONCE
from training.memory import Recipe, memory
from training.model_shape import ModelShape
from training.plan import shape_of

SMALL = ModelShape(vocabulary=640, hidden=96, layers=4, heads=6, kv_heads=2, head_dim=16, intermediate=256, tied=True)
PLAIN: dict[str, Any] = {
    "devices": 1,
    "row_tokens": 256,
    "bf16": False,
    "checkpointing": False,
    "keeps_attention": False,
    "offloads_activations": False,
    "path_keys": 0,
}


def test_memory_of_qwen3_4b_by_hand() -> None:
    shape = shape_of(settings("model=qwen3_4b").model)
    values = PLAIN | {"devices": 8, "row_tokens": 32768, "bf16": True, "checkpointing": True}
    buckets = {"overlap_comm": True, "reduce_bucket_size": 5 * 10**7, "stage3_prefetch_bucket_size": 5 * 10**7}
    zero3 = {"zero_optimization": {"stage": 3, **buckets}}
    planned = memory(shape, Recipe.of(zero3, **values))
    parameters = 4_022_468_096
    assert planned.parameters == planned.gradients == parameters * 2 / 8
    assert planned.optimizer == parameters * 12 / 8
    embedding = 151936 * 2560
    assert planned.gathered == (2 * embedding + 3 * 5 * 10**7) * 2
    assert planned.logits == 3 * 4 * 2**27
    inputs = 36 * 32768 * 2560 * 2
    # Per layer, in elements per token: two norms, q and k twice and v, attention's output, both residuals, the MLP's
    # four.
    saved = 6 * 2560 + 2 * (4096 + 1024) + 1024 + 4096 + 2 * 2560 + 4 * 9728
    assert planned.activations == inputs + 1.5 * 32768 * saved * 2
    assert planned.host == 0

    offloading = {"zero_optimization": {**zero3["zero_optimization"], "offload_optimizer": {"device": "cpu"}}}
    offloaded = memory(shape, Recipe.of(offloading, **values | {"offloads_activations": True}))
    assert offloaded.optimizer == 0
    assert offloaded.host == parameters * 16 / 8 + inputs
    assert offloaded.activations == 2 * inputs / 36 + 1.5 * 32768 * saved * 2
    assert (offloaded.parameters, offloaded.gradients) == (planned.parameters, planned.gradients)


def test_fp32_gradients_and_weights_of_each_node_by_hand() -> None:
    shape = shape_of(settings("model=qwen3_4b").model)
    values = PLAIN | {"devices": 16, "bf16": True}
    configured = settings("experiment=paper_4b", "deepspeed.zero_optimization.zero_hpz_partition_size=8").deepspeed
    planned = memory(shape, Recipe.of(configured, **values))
    assert planned.gradients == 4_022_468_096 * 4 / 16
    assert planned.parameters == 4_022_468_096 * 2 / 16 + 4_022_468_096 * 2 / 8


def test_gathered_keys_by_hand() -> None:
    """Of Qwen3-4B: 32 query heads and 8 key heads of 128."""
    shape = shape_of(settings("model=qwen3_4b").model)
    values = PLAIN | {"row_tokens": 32768, "bf16": True, "checkpointing": True}

    def gathered(path_keys: float, **changes: Any) -> int:
        planned, without = (memory(shape, Recipe.of({}, **values | changes | {"path_keys": n})) for n in (path_keys, 0))
        return planned.activations - without.activations

    # Keys and values in bf16; their gradients for every query head, then for every key head, and one of both in fp32.
    of_key = 2 * 8 * 128 * 2 + 2 * 32 * 128 * 2 + 2 * 8 * 128 * 2 + 8 * 128 * 4
    assert gathered(6) == 6 * 32768 * of_key
    # 28 keys a token, as a tree of 120 turns has, are gathered in parts.
    assert gathered(28) == KEYS_AT_ONCE * of_key
    assert gathered(28) < 8e9 < 28 * 32768 * of_key
    assert gathered(28, checkpointing=False) == KEYS_AT_ONCE * of_key
    assert gathered(6, checkpointing=False) == 6 * 32768 * (of_key + 35 * 2 * 8 * 128 * 2)


def test_kept_attention_by_hand() -> None:
    """Of Qwen3-4B, in each of 36 layers: 32 heads of 128 in bf16 and a log-sum-exp in fp32, also with the other
    activations offloaded."""
    shape = shape_of(settings("model=qwen3_4b").model)
    values = PLAIN | {"row_tokens": 32768, "bf16": True, "checkpointing": True}
    for offloads in (False, True):
        planned, without = (
            memory(shape, Recipe.of({}, **values | {"keeps_attention": keeps, "offloads_activations": offloads}))
            for keeps in (True, False)
        )
        assert planned.activations - without.activations == 36 * 32768 * (32 * 128 * 2 + 32 * 4)
        assert planned.host == without.host


def test_parameters_gradients_and_optimizer_states_match_a_real_step() -> None:
    model = built(SMALL)
    optimizer = torch.optim.AdamW(model.parameters())
    model(input_ids=torch.zeros(1, 8, dtype=torch.long)).logits.sum().backward()
    optimizer.step()
    planned = memory(SMALL, Recipe.of({}, **PLAIN))
    assert planned.parameters == sum(p.nbytes for p in model.parameters())
    assert planned.gradients == sum(p.grad.nbytes for p in model.parameters() if p.grad is not None)
    states = [value for state in optimizer.state.values() for key, value in state.items() if key != "step"]
    assert planned.optimizer == sum(value.nbytes for value in states)


@pytest.mark.parametrize(
    "shape",
    [SMALL, SMALL.model_copy(update={"experts": 8, "experts_per_token": 2, "expert_intermediate": 64})],
    ids=["dense", "moe"],
)
def test_activations_are_close_to_those_autograd_saves(shape: ModelShape) -> None:
    model = built(shape, attn_implementation="sdpa")
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    alive: list[torch.Tensor] = []
    saved: dict[int, int] = {}

    def save(tensor: torch.Tensor) -> torch.Tensor:
        alive.append(tensor)
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        output = model.model(input_ids=torch.arange(256)[None], use_cache=False).last_hidden_state
    real = sum(size for address, size in saved.items() if address not in weights)
    planned = memory(shape, Recipe.of({}, **PLAIN)).activations
    assert output.requires_grad
    assert planned == pytest.approx(real, rel=0.25)
