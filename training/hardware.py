"""What a plan is made for, and what it assumes: none of this changes a training."""

from __future__ import annotations

from pydantic import Field

from core.settings import Settings


class HardwareSettings(Settings):
    """`devices` are GPUs, of all nodes together, or processes on a CPU. Each has `memory_gb` of its own, and `host_memory_gb` of
    its node's memory as its share. `tflops` is what one sustains, in model FLOPs (10^12/s) without what is recomputed;
    with `bf16` in mixed precision, as on every GPU."""

    bf16: bool
    devices: int = Field(ge=1)
    memory_gb: float = Field(gt=0)
    host_memory_gb: float = Field(gt=0)
    tflops: float = Field(gt=0)


class AssumedSettings(Settings):
    """What stands for the data where there is none: `dialogues` to train on, and of the mean tree its `tokens`, the `keys` one of
    them sees and the share that is `trained`. Where there is data, its trees are measured in characters, of which
    `characters_per_token` make a token.

    `fill` is how full rows are packed, `path_keys` how many keys and values attention gathers for each token of a row.
    """

    dialogues: int = Field(ge=1)
    tokens: float = Field(gt=0)
    keys: float = Field(gt=0)
    trained: float = Field(gt=0, le=1)
    characters_per_token: float = Field(gt=0)
    fill: float = Field(gt=0, le=1)
    path_keys: float = Field(ge=1)
