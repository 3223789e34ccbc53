"""Invented trial records, and real trials of a benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.sampling import Sampling
from evaluation.benchmark import Benchmark, EvaluationContext
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
    """Runs `benchmark` with the model at `endpoint`."""
    return benchmark.run(EvaluationContext(endpoint, trials), directory, progress)
