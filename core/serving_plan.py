"""What serving a model takes, for the plans of generation and evaluation: its weights and KV cache, and the GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from core.messages import Frozen
from core.serving import EngineSettings, gpus_for, weights_bytes
from core.settings import Settings

NODE_GPUS = 8
"""Most GPUs of one engine, all in one machine."""


class ServingAssumptions(Settings):
    """The assumptions about a model's server."""

    gpu_memory_gb: float = Field(default=80.0, gt=0, description="memory of one GPU, in GB")
    weights_gb: float | None = Field(
        default=None, gt=0, description="the model's weights, in GB; null: as its files or the hub tell"
    )
    kv_kb_per_token: float = Field(
        default=150.0,
        gt=0,
        description="keys and values of one token, in kB: 4 bytes × layers × key heads × head dimension",
    )


class ServingPlan(Frozen):
    """Gigabytes; `weights` is None if not known. `room` is what the engine has for KV cache on its GPUs."""

    model: str
    weights: float | None
    cache: float
    gpus: int
    room: float | None

    @property
    def lines(self) -> Iterator[str]:
        """What to know, one sentence each; a shortage begins with "missing: "."""
        if self.weights is None or self.room is None:
            yield f"memory: the size of {self.model} is not known here; weights_gb under assume tells it"
            return
        engine = f"{self.gpus} GPU{'s' if self.gpus > 1 else ''} for each engine"
        yield f"memory: {self.model} has {self.weights:.1f} GB of weights; {engine}, with {self.room:.1f} GB for KV cache"
        if self.room <= 0:
            yield f"missing: {self.model} does not fit on {engine}: serve a smaller model"
        elif self.cache > self.room:
            yield (
                f"all conversations at once have {self.cache:.1f} GB of keys and values; with {self.room:.1f} GB vLLM "
                "queues some of them"
            )


def serving_plan(
    model: str | Path | None, settings: EngineSettings, assumed: ServingAssumptions, conversations: int, tokens: float
) -> ServingPlan:
    """The plan for so many `conversations` at once, of `tokens` tokens each at their end, on one engine. `model` is
    None if it is not trained yet."""
    known = weights_bytes(model) if model and assumed.weights_gb is None else None
    weights = assumed.weights_gb or (known / 1e9 if known else None)
    usable = settings.gpu_memory_share * assumed.gpu_memory_gb
    gpus = settings.tensor_parallel or (gpus_for(weights, usable, NODE_GPUS) if weights else 1)
    return ServingPlan(
        model=str(model or "the trained model"),
        weights=weights,
        cache=conversations * tokens * assumed.kv_kb_per_token / 1e6,
        gpus=gpus,
        room=usable * gpus - weights if weights else None,
    )
