"""The settings of a training. The worker processes read them from the run directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from core.settings import Paths, Settings
from core.tracking import TrackingSettings
from training.chat_format import MARKUP_TOKENS
from training.dataset import SampleSettings
from training.hardware import AssumeSettings, HardwareSettings
from training.mixture import MixtureSettings
from training.model_shape import ModelShape
from training.nodes import NodesSettings
from training.render import HistoryReasoning

Attention = Literal["sdpa", "torch_varlen", "torch_varlen_fa4", "flash_attention_2", "flex"]
FusedKernels = Literal["none", "liger", "compile"]

RENDERING = {"conversation", "messages", "tools", "documents", "chat_template", "add_generation_prompt", "tokenize"}
"""Arguments of apply_chat_template that are not variables of a template."""


class TinySettings(Settings):
    """A Qwen3 with random weights and its own tokenizer."""

    vocabulary: int = Field(ge=512, description="tokens, special tokens included")
    hidden: int = Field(description="width of the residual stream")
    layers: int = Field(description="decoder layers")
    heads: int = Field(description="query heads")
    kv_heads: int = Field(description="key and value heads")
    head_dim: int = Field(description="width of a head")
    intermediate: int = Field(description="width of the MLP")
    max_positions: int = Field(description="longest context, in tokens")
    initializer_range: float = Field(gt=0, description="standard deviation of all random weights")


class ModelSettings(Settings):
    """The model to train: either `path` or `tiny`."""

    path: str | None = Field(default=None, description="hub id or directory of a published model")
    tiny: TinySettings | None = Field(default=None, description="a small model to build instead")
    package: str | None = Field(
        default=None,
        description="installed Python package that carries the weights as a GGUF file, for machines that reach no hub: "
        "taken if `path` is neither a directory nor on the hub",
    )
    markup_slots: tuple[int, ...] | None = Field(
        default=None,
        description="ids of six special tokens that the model never learnt to use. They become the markup of reasoning, "
        "tool calls and results, and training/template.jinja replaces the model's chat template; null: the model's own",
    )
    shape: ModelShape | None = Field(
        default=None, description="the published model's dimensions, for plans on machines without its config.json"
    )
    experts: Literal["eager", "batched_mm", "grouped_mm"] | None = Field(
        default=None, description="transformers' implementation of a mixture of experts; null: its default"
    )

    chat_template_kwargs: dict[str, Any] = Field(
        default={},
        description="variables of the model's chat template, such as enable_thinking and preserve_thinking, with which "
        "the data is rendered; evaluation sends the same to the server. With enable_thinking false, reasoning is left "
        "out of the data",
    )

    @field_validator("chat_template_kwargs")
    @classmethod
    def _only_variables(cls, kwargs: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(kwargs.keys() & RENDERING):
            raise ValueError(f"{taken[0]} cannot be set: the rendering decides it")
        return kwargs

    @field_validator("markup_slots")
    @classmethod
    def _one_for_each(cls, slots: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if slots is not None and (len(slots) != len(MARKUP_TOKENS) or len({*slots}) != len(slots)):
            raise ValueError(f"expected {len(MARKUP_TOKENS)} different ids, one each for {' '.join(MARKUP_TOKENS)}")
        return slots

    @model_validator(mode="after")
    def _one_source(self) -> ModelSettings:
        if (self.path is None) == (self.tiny is None):
            raise ValueError("a model is either loaded from `path` or built as `tiny`: give exactly one of them")
        return self


class OptimizerSettings(Settings):
    """AdamW."""

    learning_rate: float = Field(gt=0, description="peak learning rate")
    weight_decay: float = Field(ge=0, description="decoupled weight decay")
    beta2: float = Field(gt=0, lt=1, description="decay rate of the second moment")
    max_grad_norm: float = Field(gt=0, description="gradients are clipped to this norm")
    schedule: Literal["cosine", "constant_with_warmup"] = Field(
        description="course of the learning rate after the warm-up"
    )
    warmup: float = Field(ge=0, lt=1, description="share of all steps in which the rate rises from 0 to learning_rate")


class TrainSettings(Settings):
    """A training: full fine-tuning on token trees. A dialogue is one tree; trees are packed into rows."""

    profile: str = Field(description="name of the profile: cpu or paper")
    outputs: Path = Field(description="directory of all runs")
    data: Paths | None = Field(
        description="generation run, export or dialogues.jsonl, or a list of them; null: the newest finished generation "
        "run"
    )
    report: int | None = Field(
        ge=0, description="most dialogues and trials in the report that is written at the end; null: no report"
    )
    seed: int = Field(description="random seed of mixture, initial weights and order")
    tracking: TrackingSettings
    model: ModelSettings
    mixture: MixtureSettings
    optimizer: OptimizerSettings
    deepspeed: dict[str, Any] = Field(description="DeepSpeed configuration; empty: train without DeepSpeed")
    processes: int | None = Field(ge=1, description="worker processes on each node; null: one per GPU")
    data_workers: int = Field(ge=1, description="processes that tokenise the data")
    attention: Attention | Literal["auto"] = Field(
        description="attention kernel; auto: flash-attn where it is installed, else PyTorch's own flash kernel, and sdpa "
        "on a CPU, where nothing else trains. torch_varlen_fa4 (FlashAttention-4) and flex (FlexAttention) have not been "
        "measured"
    )
    fused_kernels: FusedKernels = Field(
        description="norms, rotary positions and SwiGLU in one kernel each: of liger-kernel, or compiled by PyTorch; none: "
        "transformers' own. Their speed has not been measured"
    )
    gradient_checkpointing: bool = Field(description="recompute activations in the backward pass to save memory")
    keep_attention: bool = Field(
        description="with gradient_checkpointing: keep attention's output, and do not recompute it. Its speed has not "
        "been measured"
    )
    activation_offload: bool = Field(
        description="keep the checkpointed activations in host memory, except what keep_attention keeps"
    )
    share_prefixes: bool = Field(
        description="train a dialogue as one tree; false: every user turn separately, with the same gradients for "
        "several times the work"
    )
    history_reasoning: HistoryReasoning = Field(
        description="served: train on prompts exactly as served; keep_all: keep the reasoning of earlier turns, which "
        "is never served"
    )
    max_tokens: int = Field(ge=64, description="longest sample (a user turn with everything before it), in tokens")
    row_tokens: int = Field(ge=64, description="capacity of a row of packed trees, in tokens")
    batch_size: int = Field(ge=1, description="rows of an optimizer step, over all processes")
    epochs: float = Field(gt=0, description="passes over the data")
    max_steps: int | None = Field(ge=1, description="optimizer steps; null: as many as `epochs` passes need")
    train_tokens: int | None = Field(
        ge=1,
        description="train on exactly this many trained tokens (those with a loss), repeats included, in place of epochs: "
        "a budget that is equal whatever the data; null: no budget",
    )
    evaluations: int = Field(ge=1, description="validations in a run, each with a checkpoint")
    patience: int | None = Field(
        ge=1, description="stop after this many consecutive validations without improvement; null: never stop early"
    )
    peak_tflops: float | None = Field(
        gt=0,
        description="peak speed of one GPU in TFLOP/s, to report the model FLOPs utilisation; null: do not report it",
    )
    nodes: NodesSettings
    plan: bool = Field(description="print what the training would take, instead of training")
    hardware: HardwareSettings = Field(description="hardware of the plan")
    assume: AssumeSettings = Field(description="assumptions of the plan")

    @model_validator(mode="after")
    def _consistent(self) -> TrainSettings:
        if self.row_tokens < self.max_tokens:
            raise ValueError(f"row_tokens={self.row_tokens} must be at least max_tokens={self.max_tokens}")
        if self.train_tokens and self.max_steps:
            raise ValueError("train_tokens and max_steps both end the training: give one of them")
        if self.activation_offload and not self.gradient_checkpointing:
            raise ValueError("activation_offload=true needs gradient_checkpointing=true")
        if self.deepspeed.get("expert_parallel", {}).get("enabled"):
            raise ValueError("deepspeed.expert_parallel (AutoEP) has no checkpoint that plain transformers could load")
        if self.keep_attention and not self.gradient_checkpointing:
            raise ValueError("keep_attention=true needs gradient_checkpointing=true: without it nothing is recomputed")
        if self.keep_attention and self.attention == "flex":
            raise ValueError("keep_attention=true does not work with attention=flex, a compiled function: use another")
        return self

    @property
    def samples(self) -> SampleSettings:
        own = SampleSettings.model_fields.keys() & TrainSettings.model_fields.keys()
        kwargs = self.model.chat_template_kwargs
        return SampleSettings(**{name: getattr(self, name) for name in own}, chat_template_kwargs=kwargs)
