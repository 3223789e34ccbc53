"""Trials as tests make them up."""

from __future__ import annotations

from typing import Any

from core.sampling import Sampling
from evaluation.results import TrialRecord


def trial(benchmark: str, category: str, task: object, number: int, success: bool | None, **more: Any) -> TrialRecord:
    fields = {
        "benchmark": benchmark,
        "harness": f"{benchmark} 1",
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
