"""Estimates the cost of a run in advance: requests, tokens, GPU-hours, disk.

The shape of the dialogues (requests per role, lengths of prompts and answers) is measured on a sample that the stand-in
generates with the planned configuration. The assumptions of AssumeSettings convert its words to tokens and add
reasoning; they are printed with the estimate, which is only as good as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from core.messages import Frozen
from core.serving_plan import ServingAssumptions
from core.settings import Settings
from generation.metrics.statistics import Statistics


class AssumeSettings(Settings):
    """The assumptions of a plan, and the size of its sample. Speeds are per GPU."""

    sample: int = Field(ge=1, description="dialogues that the stand-in generates in each pipeline")
    tokens_per_word: float = Field(gt=0, description="tokens per word of prompts and answers")
    reasoning_tokens: dict[str, int] = Field(
        description="role -> tokens of reasoning before each answer; `default` for other roles"
    )
    cached_share: float = Field(ge=0, le=1, description="share of the prompt tokens that the prefix cache serves")
    prefill_tokens_per_s: float = Field(gt=0, description="prompt tokens per second and GPU")
    decode_tokens_per_s: float = Field(gt=0, description="generated tokens per second and GPU")
    acceptance: float | None = Field(gt=0, le=1, description="share of accepted dialogues; null: the sample's")
    gpus: int = Field(ge=1, description="GPUs of the planned run")
    serving: ServingAssumptions = Field(description="the model of `serve` and its GPUs")
    cost_per_gpu_hour: float = Field(ge=0, description="cost of one GPU for one hour")


class Estimate(Frozen):
    """The estimate for one pipeline. `gpu_hours` covers prefill and decoding; `hours` is wall-clock on all GPUs."""

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


def estimate(sample: Statistics, bytes_on_disk: int, n: int, assumed: AssumeSettings) -> Estimate:
    """Scale the statistics of a sample to `n` dialogues."""
    scale = n / max(1, sample.started)
    reasoning = sum(
        role.requests * assumed.reasoning_tokens.get(name, assumed.reasoning_tokens.get("default", 0))
        for name, role in sample.roles.items()
    )
    assert sample.prompt_tokens is not None, "the stand-in counts words"
    assert sample.completion_tokens is not None, "the stand-in counts words"
    prompt = sample.prompt_tokens * assumed.tokens_per_word * scale
    generated = (sample.completion_tokens * assumed.tokens_per_word + reasoning) * scale
    cached = prompt * assumed.cached_share
    seconds = (prompt - cached) / assumed.prefill_tokens_per_s + generated / assumed.decode_tokens_per_s
    share = assumed.acceptance or sample.accepted / max(1, sample.started)
    return Estimate(
        pipeline=sample.pipeline,
        started=n,
        accepted=round(n * share),
        requests=round(sample.requests * scale),
        prompt_tokens=round(prompt),
        cached_tokens=round(cached),
        generated_tokens=round(generated),
        gpu_hours=round(seconds / 3600, 3),
        hours=round(seconds / 3600 / assumed.gpus, 3),
        cost=round(seconds / 3600 * assumed.cost_per_gpu_hour, 2),
        disk_bytes=round(bytes_on_disk * scale),
    )


def estimates(samples: Mapping[str, Statistics], run: Path, n: int, assumed: AssumeSettings) -> tuple[Estimate, ...]:
    """The estimates for all pipelines in the run directory of a sample."""
    return tuple(
        estimate(sample, sum(file.stat().st_size for file in (run / name).iterdir()), n, assumed)
        for name, sample in samples.items()
    )
