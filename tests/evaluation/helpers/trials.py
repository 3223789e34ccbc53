"""Trials as tests make them up."""

from __future__ import annotations

from typing import Any

from core.sampling import Sampling
from evaluation.trials import TrialRecord

HARNESSES = {"tau2": "inspect-evals 0.26.0 tau2"}
"""What doing nothing scores is known for a real one only."""


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
