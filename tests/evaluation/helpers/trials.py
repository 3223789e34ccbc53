"""Invented trial records, and real trials of a benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.sampling import Sampling
from evaluation.benchmark import Benchmark, Context
from evaluation.endpoint import Endpoint
from evaluation.trials import Progress, TrialRecord

HARNESSES = {"tau2": "inspect-evals 0.26.0 tau2"}
"""The score of doing nothing is known only for a real harness."""


def trial(benchmark: str, category: str, task: object, number: int, success: bool | None, **more: Any) -> TrialRecord:
    fields = {
        "benchmark": benchmark,
        "harness": HARNESSES.get(benchmark, f"{benchmark} 1"),
        "category": category,
        "task_id": str(task),
        "trial": number,
        "model": "m",
        "success": success,
        "infrastructure_error": "down" if success is None else None,
        "stop_reason": "stop",
        "sampling": Sampling(),
    }
    return TrialRecord.model_validate(fields | more)


def run_trials(
    benchmark: Benchmark, endpoint: Endpoint, directory: Path, trials: int = 1, progress: Progress | None = None
) -> list[TrialRecord]:
    """Runs `benchmark` with `endpoint` as model and as user simulator."""
    return benchmark.run(Context(endpoint, trials, simulator=endpoint), directory, progress)
