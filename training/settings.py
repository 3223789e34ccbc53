"""What a training can be told. All its parts read this, the worker processes from the run directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from core.settings import Settings
from core.tracking import TrackingSettings
from training.dataset import SampleSettings
from training.hardware import AssumedSettings, HardwareSettings
from training.mixture import MixtureSettings
from training.model_shape import ModelShape
from training.nodes import NodesSettings
from training.render import HistoryReasoning

Attention = Literal["sdpa", "torch_varlen", "flash_attention_2"]


class TinySettings(Settings):
    """A Qwen3 built from nothing. `vocabulary` counts the special tokens, `max_positions` is the longest context,
    `initializer_range` the standard deviation of all random weights."""

    vocabulary: int = Field(ge=512)
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    max_positions: int
    initializer_range: float = Field(gt=0)


class ModelSettings(Settings):
    """Either `path`, a hub id or a directory, or `tiny`. `experts` is transformers' way to run a mixture of experts; `shape` what a
    published model's config.json says, for plans where it does not lie here."""

    path: str | None = None
    tiny: TinySettings | None = None
    shape: ModelShape | None = None
    experts: Literal["eager", "batched_mm", "grouped_mm"] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> ModelSettings:
        if (self.path is None) == (self.tiny is None):
            raise ValueError("a model is either loaded from `path` or built as `tiny`: give exactly one of them")
        return self


class OptimizerSettings(Settings):
    """AdamW. `warmup` is the share of all steps in which the rate rises from 0 to `learning_rate`."""

    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    beta2: float = Field(gt=0, lt=1)
    max_grad_norm: float = Field(gt=0)
    schedule: Literal["cosine", "constant_with_warmup"]
    warmup: float = Field(ge=0, lt=1)


class TrainSettings(Settings):
    """`data` is a generation run or a dialogues.jsonl, by default the newest finished generation.

    `processes` on each of `nodes`, null for one per GPU; `data_workers` processes tokenise. A dialogue is one tree of tokens;
    trees are packed into rows of `row_tokens`, and `batch_size` rows over all processes make one optimizer step.
    `max_tokens` is the longest sample (one user turn with all before it). `share_prefixes` false trains every user turn by
    itself, which gives the same gradients for several times the work; `history_reasoning` keep_all trains on what is never
    served. `attention` is the kernel. `activation_offload` keeps what gradient checkpointing saves in the host's memory.

    `evaluations` counts the validations in a run, each with a checkpoint; training stops early when `patience` of them in a
    row were no better. An empty `deepspeed` trains without it. `max_steps` null means `epochs` passes over the data.
    `peak_tflops` is what one GPU can do at best, for the model FLOPs utilisation. `plan` says what all that takes on
    `hardware`, with `assume` where it cannot know, instead of training.
    """

    profile: str
    outputs: Path
    data: Path | None
    seed: int
    tracking: TrackingSettings
    model: ModelSettings
    mixture: MixtureSettings
    optimizer: OptimizerSettings
    deepspeed: dict[str, Any]
    processes: int | None = Field(ge=1)
    data_workers: int = Field(ge=1)
    attention: Attention
    gradient_checkpointing: bool
    activation_offload: bool
    share_prefixes: bool
    history_reasoning: HistoryReasoning
    max_tokens: int = Field(ge=64)
    row_tokens: int = Field(ge=64)
    batch_size: int = Field(ge=1)
    epochs: float = Field(gt=0)
    max_steps: int | None = Field(ge=1)
    evaluations: int = Field(ge=1)
    patience: int | None = Field(ge=1)
    peak_tflops: float | None = Field(gt=0)
    nodes: NodesSettings
    plan: bool
    hardware: HardwareSettings
    assume: AssumedSettings

    @model_validator(mode="after")
    def _consistent(self) -> TrainSettings:
        if self.row_tokens < self.max_tokens:
            raise ValueError(f"row_tokens={self.row_tokens} must be at least max_tokens={self.max_tokens}")
        if self.activation_offload and not self.gradient_checkpointing:
            raise ValueError("activation_offload=true needs gradient_checkpointing=true")
        return self

    @property
    def samples(self) -> SampleSettings:
        return SampleSettings(**{name: getattr(self, name) for name in SampleSettings.model_fields})
