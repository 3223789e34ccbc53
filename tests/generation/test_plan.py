"""The cost estimate, against figures worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from generation.metrics.statistics import MeanMax, RoleMetrics, Statistics
from generation.pipeline import DomainTools
from generation.plan import PlanSettings, estimate
from tests.generation.helpers.pipeline_runs import play


def role(requests: int, prompt_tokens: int, completion_tokens: int) -> RoleMetrics:
    return RoleMetrics(
        requests=requests,
        retries=0,
        prompt_tokens=prompt_tokens,
        cached_tokens=0,
        completion_tokens=completion_tokens,
        seconds=0.0,
        gpu_hours=0.0,
    )


NOTHING = MeanMax(mean=0.0, max=0)
FIGURES = Statistics(
    pipeline="p",
    started=10,
    accepted=8,
    rejected=2,
    failed=0,
    unanswered=0,
    step=NOTHING,
    turn=NOTHING,
    task=NOTHING,
    user_turns=NOTHING,
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
PLAN = PlanSettings(
    sample=10,
    tokens_per_word=2.0,
    reasoning_tokens={"default": 100, "user": 10},
    cached_share=0.9,
    prefill_tokens_per_s=1000.0,
    decode_tokens_per_s=100.0,
    acceptance=None,
    gpus=4,
    cost_per_gpu_hour=3.0,
)


def test_by_hand() -> None:
    """100 times the sample: 1 M prompt tokens, of which 100,000 are computed; 100,000 words' tokens and 530,000 of reasoning."""
    found = estimate(FIGURES, 12_345, 1000, PLAN)
    assert (found.started, found.accepted, found.requests) == (1000, 800, 8000)
    assert (found.prompt_tokens, found.cached_tokens) == (1_000_000, 900_000)
    assert found.generated_tokens == 500 * 2 * 100 + (50 * 100 + 30 * 10) * 100
    seconds = 100_000 / 1000 + 630_000 / 100
    assert found.gpu_hours == pytest.approx(seconds / 3600, abs=1e-3)
    assert found.hours == pytest.approx(seconds / 3600 / 4, abs=1e-3)
    assert found.cost == pytest.approx(seconds / 3600 * 3, abs=1e-2)
    assert found.disk_bytes == 1_234_500


def test_a_share_of_acceptance_that_is_given_counts() -> None:
    assert estimate(FIGURES, 0, 1000, PLAN.model_copy(update={"acceptance": 0.25})).accepted == 250


def test_what_is_estimated_for_the_sample_itself_is_what_it_took(
    domains: tuple[DomainTools, ...], tmp_path: Path
) -> None:
    plain = PLAN.model_copy(update={"tokens_per_word": 1.0, "reasoning_tokens": {}})
    played = play("user_oriented", domains, tmp_path, n=6)
    found = estimate(played.statistics, 0, 6, plain)
    requests = [request for request, _ in played.log]
    assert found.requests == len(requests)
    assert found.prompt_tokens == sum(completion.prompt_tokens for _, completion in played.log)
    assert found.generated_tokens == sum(completion.completion_tokens for _, completion in played.log)
    assert sum(role.requests for role in played.statistics.roles.values()) == len(requests)
