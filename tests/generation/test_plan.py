"""The cost estimate compared with values computed by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.serving_plan import ServingAssumptions
from generation.metrics.statistics import MeanMax, RoleMetrics, Statistics
from generation.pipeline import DomainTools
from generation.plan import AssumeSettings, estimate
from tests.generation.helpers.pipeline_runs import run_to_end


def role(requests: int, prompt_tokens: int, completion_tokens: int) -> RoleMetrics:
    return RoleMetrics(
        llm="scripted",
        requests=requests,
        retries=0,
        prompt_tokens=prompt_tokens,
        cached_tokens=0,
        completion_tokens=completion_tokens,
        seconds=0.0,
        gpu_hours=0.0,
    )


ZERO = MeanMax(mean=0.0, max=0)
SAMPLE = Statistics(
    pipeline="p",
    started=10,
    accepted=8,
    rejected=2,
    failed=0,
    unanswered=0,
    step=ZERO,
    turn=ZERO,
    task=ZERO,
    user_turns=ZERO,
    tasks_requested=1.0,
    roles={"agent": role(50, 4000, 300), "user": role(30, 1000, 200)},
    requests=80,
    prompt_tokens=5000,
    completion_tokens=500,
    wall_s=1.0,
    latency_s=None,
    throughput=None,
    gpu_hours=0.0,
    cost=0.0,
)
PLAN = AssumeSettings(
    sample=10,
    tokens_per_word=2.0,
    reasoning_tokens={"default": 100, "user": 10},
    cached_share=0.9,
    prefill_tokens_per_s=1000.0,
    decode_tokens_per_s=100.0,
    acceptance=None,
    gpus=4,
    cost_per_gpu_hour=3.0,
    serving=ServingAssumptions(),
)


def test_an_estimate_equals_the_one_computed_by_hand() -> None:
    """100 times the sample: 1 M prompt tokens, 100,000 of them uncached; 100,000 tokens of answers and 530,000 of
    reasoning."""
    planned = estimate(SAMPLE, 12_345, 1000, PLAN)
    assert (planned.started, planned.accepted, planned.requests) == (1000, 800, 8000)
    assert (planned.prompt_tokens, planned.cached_tokens) == (1_000_000, 900_000)
    assert planned.generated_tokens == 500 * 2 * 100 + (50 * 100 + 30 * 10) * 100
    seconds = 100_000 / 1000 + 630_000 / 100
    assert planned.gpu_hours == pytest.approx(seconds / 3600, abs=1e-3)
    assert planned.hours == pytest.approx(seconds / 3600 / 4, abs=1e-3)
    assert planned.cost == pytest.approx(seconds / 3600 * 3, abs=1e-2)
    assert planned.disk_bytes == 1_234_500


def test_a_given_acceptance_replaces_the_samples() -> None:
    assert estimate(SAMPLE, 0, 1000, PLAN.model_copy(update={"acceptance": 0.25})).accepted == 250


def test_the_estimate_for_the_sample_itself_is_its_actual_usage(
    domains: tuple[DomainTools, ...], tmp_path: Path
) -> None:
    plain = PLAN.model_copy(update={"tokens_per_word": 1.0, "reasoning_tokens": {}})
    played = run_to_end("user_oriented", domains, tmp_path, n=6)
    planned = estimate(played.statistics, 0, 6, plain)
    requests = [request for request, _ in played.log]
    assert planned.requests == len(requests)
    assert planned.prompt_tokens == sum(completion.prompt_tokens for _, completion in played.log)
    assert planned.generated_tokens == sum(completion.completion_tokens for _, completion in played.log)
    assert sum(role.requests for role in played.statistics.roles.values()) == len(requests)
