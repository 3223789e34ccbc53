"""What a training holds in memory at its peak, by what it is for: an estimate from the model's dimensions and the recipe.

Mixed precision keeps weights and gradients in bf16 (2 bytes) and, in DeepSpeed's optimizer, a copy and AdamW's two moments in
fp32 (12 bytes). ZeRO-3 gives each of N devices the N-th part of all of that (Rajbhandari et al. 2020) and gathers whole layers
while they are used. Activations are those of one row of trees a micro-step.
"""

from __future__ import annotations

from typing import Any

from core.messages import Frozen
from training.loss import BLOCK
from training.model_shape import ModelShape

GRADIENTS_IN_FLIGHT = 1.5
"""A layer's saved activations, and about half as much again for the gradients that travel through it."""

MOST_GATHERED = 10**9
"""DeepSpeed's default of stage3_max_live_parameters."""


class Recipe(Frozen):
    """What of a training's settings its memory depends on. `stage` is ZeRO's; 0 is plain data parallelism, `deepspeed` false
    means without DeepSpeed's own optimizer states. `buckets` are elements in DeepSpeed's communication buffers."""

    devices: int
    row_tokens: int
    bf16: bool
    deepspeed: bool
    stage: int
    buckets: int
    offloads_optimizer: bool
    offloads_parameters: bool
    checkpointing: bool
    offloads_activations: bool
    path_keys: float

    @classmethod
    def of(cls, deepspeed: dict[str, Any], **known: Any) -> Recipe:
        """With what a DeepSpeed configuration (empty: none) says."""
        zero = deepspeed.get("zero_optimization", {})
        device = {key: zero.get(f"offload_{key}", {}).get("device", "none") for key in ("optimizer", "param")}
        return cls(
            deepspeed=bool(deepspeed),
            stage=zero.get("stage", 0),
            # Two reduce buckets where reducing overlaps with computing.
            buckets=zero.get("reduce_bucket_size", 0) * (1 + bool(zero.get("overlap_comm")))
            + zero.get("stage3_prefetch_bucket_size", 0),
            offloads_optimizer=device["optimizer"] != "none",
            offloads_parameters=device["param"] != "none",
            **known,
        )


class Memory(Frozen):
    """Bytes on one device, and `host`: of the node's memory for each device."""

    parameters: int
    gradients: int
    optimizer: int
    gathered: int
    activations: int
    logits: int
    host: int

    @property
    def device(self) -> int:
        return self.parameters + self.gradients + self.optimizer + self.gathered + self.activations + self.logits


def memory(shape: ModelShape, recipe: Recipe) -> Memory:
    """At the peak of a micro-step, with the fullest row. The step itself holds no activations but fp32 gradients, of at most a
    billion parameters at a time (DeepSpeed's sub_group_size), in their place."""
    element = 2 if recipe.bf16 else 4
    parameters = _share(shape.parameters * element, recipe, stage=3)
    gradients = _share(shape.parameters * element, recipe, stage=2)
    # torch's AdamW has its two moments in the weights' type; DeepSpeed's has an fp32 copy of the weights and fp32 moments.
    optimizer = _share(shape.parameters * (12 if recipe.deepspeed else 2 * element), recipe, stage=1)
    activations, offloaded = _activations(shape, recipe, element)
    host = offloaded
    if recipe.offloads_optimizer:
        # The step takes fp32 gradients there too.
        host += optimizer + _share(shape.parameters * 4, recipe, stage=2)
        optimizer = 0
    if recipe.offloads_parameters:
        host += parameters
        parameters = 0
    gathered = min(2 * shape.largest_layer, MOST_GATHERED, shape.parameters) if recipe.stage == 3 else 0
    return Memory(
        parameters=parameters,
        gradients=gradients,
        optimizer=optimizer,
        gathered=(gathered + min(recipe.buckets, shape.parameters)) * element,
        activations=activations,
        # A block's fp32 logits, their gradient, and the copy in which the softmax is taken.
        logits=3 * 4 * min(BLOCK, recipe.row_tokens * shape.vocabulary),
        host=host,
    )


def _share(size: int, recipe: Recipe, stage: int) -> int:
    return -(-size // recipe.devices) if recipe.stage >= stage else size


def _activations(shape: ModelShape, recipe: Recipe, element: int) -> tuple[int, int]:
    """(bytes on the device, bytes moved to the host) of one row."""
    tokens = recipe.row_tokens
    inputs = shape.layers * tokens * shape.hidden * element
    layer = tokens * _saved(shape, recipe.path_keys) * element
    if not recipe.checkpointing:
        return inputs + shape.layers * layer, 0
    working = round(GRADIENTS_IN_FLIGHT * layer)
    # What is offloaded passes through the device a layer at a time, one coming while one is used.
    return (working + 2 * inputs // shape.layers, inputs) if recipe.offloads_activations else (working + inputs, 0)


def _saved(shape: ModelShape, path_keys: float) -> int:
    """Elements a token leaves in one layer for its backward pass: the inputs of every product, norm and activation."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    norms = 2 * 3 * shape.hidden  # each its input, output and fp32 copy
    projected = 2 * (queries + keys) + keys  # queries and keys before and after their norm and rotation
    gathered = round(2 * keys * path_keys)
    output = queries + 2 * shape.hidden
    routed = 2 * shape.experts_per_token * shape.hidden + shape.experts if shape.experts else 0
    return norms + projected + gathered + output + routed + 4 * shape.mlp_width
