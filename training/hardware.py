"""The hardware and the assumptions of a training plan; they do not change a training."""

from __future__ import annotations

from pydantic import Field

from core.settings import Settings


class HardwareSettings(Settings):
    """The hardware of a training plan."""

    bf16: bool = Field(description="train in bf16 mixed precision, as every GPU does")
    devices: int = Field(ge=1, description="GPUs of all nodes together, or processes on a CPU")
    memory_gb: float = Field(gt=0, description="memory of one device, in GB")
    host_memory_gb: float = Field(gt=0, description="host memory per device, in GB")
    tflops: float = Field(
        gt=0, description="sustained speed of one device in TFLOP/s of model FLOPs, recomputation not counted"
    )


class AssumeSettings(Settings):
    """The assumptions of a training plan. Trees of existing data are measured in characters; without data, all of these
    apply."""

    dialogues: int = Field(ge=1, description="dialogues to train on, without data")
    tokens: float = Field(gt=0, description="tokens of the mean tree, without data")
    keys_per_token: float = Field(gt=0, description="keys that a token of the mean tree sees, without data")
    trained_share: float = Field(
        gt=0, le=1, description="share of the mean tree's tokens that are trained, without data"
    )
    characters_per_token: float = Field(gt=0, description="characters per token, to measure existing data")
    fill: float = Field(gt=0, le=1, description="share of a packed row that is filled")
    path_keys: float = Field(ge=1, description="keys that attention gathers per token of a row, without data")
