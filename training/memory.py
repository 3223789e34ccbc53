"""The peak memory of a training, by purpose: an estimate from the model's dimensions and the recipe.

Mixed precision keeps weights in bf16 (2 bytes), gradients in bf16 or, as conf/deepspeed/ has it, in fp32 (4 bytes), and
in DeepSpeed's optimizer a copy of the weights and AdamW's two moments in fp32 (12 bytes). ZeRO-3 partitions all of that
over N devices (Rajbhandari et al. 2020) and gathers complete layers while they are used. Activations are those of one
row of trees, the micro-step.
"""

from __future__ import annotations

from typing import Any

from core.messages import Frozen
from training.attention.gathered import KEYS_AT_ONCE
from training.loss import BLOCK
from training.model_shape import ModelShape

GRADIENTS_IN_FLIGHT = 1.5
"""A layer's saved activations, plus about half of that for the gradients flowing through it."""

LOG_SUM_EXP = 4
"""Bytes of the log-sum-exp that attention kernels give for each token and head, in fp32."""

MAX_GATHERED = 10**9
"""Parameters: DeepSpeed's default of stage3_max_live_parameters."""


class Recipe(Frozen):
    """The settings of a training that determine its memory."""

    devices: int
    row_tokens: int
    bf16: bool

    deepspeed: bool
    """With the fp32 optimizer states of DeepSpeed."""

    stage: int
    """Of ZeRO; 0 is plain data parallelism."""

    buckets: int
    """Elements in DeepSpeed's communication buffers."""

    accumulates_fp32: bool
    """Adds up gradients in fp32."""

    node_partitions: int
    """Devices over which each node partitions a copy of the weights of its own; 1: nodes keep none (ZeRO++'s hpZ)."""

    offloads_optimizer: bool
    offloads_parameters: bool
    checkpointing: bool

    keeps_attention: bool
    """Under checkpointing."""

    offloads_activations: bool

    path_keys: float
    """Keys and values that attention gathers per token; 0 with FlexAttention, which gathers none."""

    @classmethod
    def of(cls, deepspeed: dict[str, Any], **fields: Any) -> Recipe:
        """The recipe of a DeepSpeed configuration (empty: without DeepSpeed) and the other fields."""
        zero = deepspeed.get("zero_optimization", {})
        device = {key: zero.get(f"offload_{key}", {}).get("device", "none") for key in ("optimizer", "param")}
        return cls(
            deepspeed=bool(deepspeed),
            stage=zero.get("stage", 0),
            # With overlap_comm there are two reduce buckets.
            buckets=zero.get("reduce_bucket_size", 0) * (1 + bool(zero.get("overlap_comm")))
            + zero.get("stage3_prefetch_bucket_size", 0),
            accumulates_fp32=deepspeed.get("data_types", {}).get("grad_accum_dtype") == "fp32",
            node_partitions=zero.get("zero_hpz_partition_size", 1),
            offloads_optimizer=device["optimizer"] != "none",
            offloads_parameters=device["param"] != "none",
            **fields,
        )


class Memory(Frozen):
    """Bytes on one device; `host` is host memory per device."""

    parameters: int
    gradients: int
    optimizer: int
    gathered: int
    activations: int
    logits: int
    host: int

    @property
    def device(self) -> int:
        """Total on the device."""
        return self.parameters + self.gradients + self.optimizer + self.gathered + self.activations + self.logits


def memory(shape: ModelShape, recipe: Recipe) -> Memory:
    """The memory at the peak of a micro-step with a full row. The optimizer step needs no more: in place of activations
    it keeps fp32 gradients, of at most a billion parameters at a time (DeepSpeed's sub_group_size)."""
    element = 2 if recipe.bf16 else 4
    parameters = _partition(shape.parameters * element, recipe, stage=3)
    if recipe.node_partitions > 1:
        parameters += -(-shape.parameters * element // recipe.node_partitions)
    gradients = _partition(shape.parameters * (4 if recipe.accumulates_fp32 else element), recipe, stage=2)
    # torch's AdamW keeps two moments in the weights' dtype; DeepSpeed adds an fp32 copy of the weights and fp32
    # moments.
    optimizer = _partition(shape.parameters * (12 if recipe.deepspeed else 2 * element), recipe, stage=1)
    activations, offloaded = _activations(shape, recipe, element)
    host = offloaded
    if recipe.offloads_optimizer:
        # The optimizer step keeps fp32 gradients there too.
        host += optimizer + _partition(shape.parameters * 4, recipe, stage=2)
        optimizer = 0
    if recipe.offloads_parameters:
        host += parameters
        parameters = 0
    gathered = min(2 * shape.largest_layer, MAX_GATHERED, shape.parameters) if recipe.stage == 3 else 0
    return Memory(
        parameters=parameters,
        gradients=gradients,
        optimizer=optimizer,
        gathered=(gathered + min(recipe.buckets, shape.parameters)) * element,
        activations=activations,
        # A block's fp32 logits, their gradient, and the softmax's copy.
        logits=3 * 4 * min(BLOCK, recipe.row_tokens * shape.vocabulary),
        host=host,
    )


def _partition(size: int, recipe: Recipe, stage: int) -> int:
    return -(-size // recipe.devices) if recipe.stage >= stage else size


def _activations(shape: ModelShape, recipe: Recipe, element: int) -> tuple[int, int]:
    """(bytes on the device, bytes offloaded to the host) for one row."""
    tokens = recipe.row_tokens
    inputs = shape.layers * tokens * shape.hidden * element
    layer = tokens * _saved(shape) * element
    keys = round(tokens * recipe.path_keys)
    paths = _paths(shape, min(keys, KEYS_AT_ONCE), element)
    gradients = _path_gradients(shape, min(keys, KEYS_AT_ONCE), element) if recipe.bf16 else 0
    # Longer paths are gathered again in the backward pass, a part at a time.
    kept = paths if keys <= KEYS_AT_ONCE else 0
    if not recipe.checkpointing:
        return inputs + shape.layers * (layer + kept) + paths - kept + gradients, 0
    working = round(GRADIENTS_IN_FLIGHT * layer) + paths + gradients
    if recipe.keeps_attention:
        working += shape.layers * tokens * shape.heads * (shape.head_dim * element + LOG_SUM_EXP)
    # Offloaded inputs pass through the device a layer at a time, the next being copied while one is used.
    return (working + 2 * inputs // shape.layers, inputs) if recipe.offloads_activations else (working + inputs, 0)


def _paths(shape: ModelShape, keys: int, element: int) -> int:
    """The gathered keys and values of one layer."""
    return 2 * keys * shape.kv_heads * shape.head_dim * element


def _path_gradients(shape: ModelShape, keys: int, element: int) -> int:
    """The gradients of gathered keys and values: flash kernels first give grouped heads one for each query head; then
    they are added up in fp32."""
    expanded = 2 * shape.heads * element if shape.heads > shape.kv_heads else 0
    return keys * shape.head_dim * (expanded + shape.kv_heads * (2 * element + 4))


def _saved(shape: ModelShape) -> int:
    """Elements per token that one layer saves for its backward pass besides gathered keys and values: the inputs of
    every matmul, norm and activation."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    norms = 2 * 3 * shape.hidden  # for each norm its input, output and fp32 copy
    projected = 2 * (queries + keys) + keys  # queries and keys before and after norm and rotation, and the values
    output = queries + 2 * shape.hidden
    routed = 2 * shape.experts_per_token * shape.hidden + shape.experts if shape.experts else 0
    return norms + projected + output + routed + 4 * shape.mlp_width
