"""What a run will cost before anything is paid: requests, tokens, GPU-hours, disk.

The shape of the dialogues (how many requests each role makes, how long its prompts and answers are) is measured on a sample
that the stand-in plays with the very configuration that is planned. Its words become tokens, and reasoning is added, by the
assumptions of PlanSettings; they stand beside the figures, since the estimate is as good as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from core.messages import Frozen
from core.settings import Settings
from generation.metrics.statistics import Statistics
from generation.run import GenerateSettings


class PlanSettings(Settings):
    """`sample` dialogues are played for each pipeline. The rest are assumptions, for one GPU where a speed is meant:
    `tokens_per_word`, `reasoning_tokens` before each answer of a role (`default` for the others), `cached_share` of the prompt
    tokens that are in the prefix cache, tokens prefilled and decoded per second, `acceptance` of a real model's dialogues
    (null: the sample's)."""

    sample: int = Field(ge=1)
    tokens_per_word: float = Field(gt=0)
    reasoning_tokens: dict[str, int]
    cached_share: float = Field(ge=0, le=1)
    prefill_tokens_per_s: float = Field(gt=0)
    decode_tokens_per_s: float = Field(gt=0)
    acceptance: float | None = Field(gt=0, le=1)
    gpus: int = Field(ge=1)
    cost_per_gpu_hour: float = Field(ge=0)


class PlannedSettings(GenerateSettings):
    """conf/plan.yaml: a generation's configuration, and the assumptions."""

    plan: PlanSettings


class Estimate(Frozen):
    """Of one pipeline: dialogues started and accepted, requests, tokens, GPU-hours (prefill and decoding), hours on all GPUs,
    cost, bytes on disk."""

    pipeline: str
    started: int
    accepted: int
    requests: int
    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int
    gpu_hours: float
    hours: float
    cost: float
    disk_bytes: int


def estimate(figures: Statistics, bytes_on_disk: int, n: int, plan: PlanSettings) -> Estimate:
    """Scale a sample's figures to `n` dialogues."""
    scale = n / max(1, figures.started)
    reasoning = sum(
        role.requests * plan.reasoning_tokens.get(name, plan.reasoning_tokens.get("default", 0))
        for name, role in figures.roles.items()
    )
    prompt = figures.prompt_tokens * plan.tokens_per_word * scale
    generated = (figures.completion_tokens * plan.tokens_per_word + reasoning) * scale
    cached = prompt * plan.cached_share
    seconds = (prompt - cached) / plan.prefill_tokens_per_s + generated / plan.decode_tokens_per_s
    share = plan.acceptance or figures.accepted / max(1, figures.started)
    return Estimate(
        pipeline=figures.pipeline,
        started=n,
        accepted=round(n * share),
        requests=round(figures.requests * scale),
        prompt_tokens=round(prompt),
        cached_tokens=round(cached),
        generated_tokens=round(generated),
        gpu_hours=round(seconds / 3600, 3),
        hours=round(seconds / 3600 / plan.gpus, 3),
        cost=round(seconds / 3600 * plan.cost_per_gpu_hour, 2),
        disk_bytes=round(bytes_on_disk * scale),
    )


def estimates(figures: Mapping[str, Statistics], run: Path, n: int, plan: PlanSettings) -> tuple[Estimate, ...]:
    """Of every pipeline of a sample's run directory."""
    return tuple(
        estimate(found, sum(file.stat().st_size for file in (run / name).iterdir()), n, plan)
        for name, found in figures.items()
    )
