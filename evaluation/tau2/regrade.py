"""Grades recorded τ² trials again with the official evaluator of release 0.2.0."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evaluation.benchmark import RecordedRun, Regraded
from evaluation.tau2.packaged import grade
from evaluation.tau2.recorded import recorded_trials
from evaluation.trials import TrialRecord


def regrade(python: Path, records: Sequence[TrialRecord], run: RecordedRun) -> dict[str, Regraded]:
    """The official verdicts; `python` is the interpreter of the official package's environment."""
    trials = recorded_trials(records, run.directory)
    answers = grade(python, list(trials.values()), run.scratch) if trials else {}
    return {key: Regraded(answer["reward"] == 1.0, "; ".join(reasons(answer))) for key, answer in answers.items()}


def reasons(answer: dict[str, Any]) -> list[str]:
    """What decided an answer of the evaluator, and the first result that another harness recorded differently."""
    info = answer["info"]
    failed = [f"failed: {name}" for name, value in (info.get("reward_breakdown") or {}).items() if value != 1.0]
    note = (info.get("info") or {}).get("note")
    difference = answer["difference"]
    return [*failed, *([note] if note else []), *([f"other result of {difference}"] if difference else [])]
