"""What a training can be told. All its parts read this, the worker processes from the run directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from core.settings import Settings
from core.tracking import TrackingSettings
from training.hardware import AssumedSettings, HardwareSettings
from training.mixture import MixtureSettings
from training.shape import ModelShape

Attention = Literal["sdpa", "eager", "flash_attention_2"]


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

    `processes` null means one per GPU; `data_workers` processes tokenise. `batch_size` samples (user turns) over all
    processes make one optimizer step; `max_tokens` is the longest sample; `evaluations` counts the validations in a run,
    each with a checkpoint. An empty `deepspeed` trains without it. `max_steps` null means `epochs` passes over the data.
    `plan` says what that takes on `hardware`, with `assume` where it cannot know, instead of training.
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
    max_tokens: int = Field(ge=64)
    batch_size: int = Field(ge=1)
    epochs: float = Field(gt=0)
    max_steps: int | None = Field(ge=1)
    evaluations: int = Field(ge=1)
    plan: bool
    hardware: HardwareSettings
    assume: AssumedSettings
