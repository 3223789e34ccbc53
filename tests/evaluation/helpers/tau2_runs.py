"""Shared by the tests of τ²-bench."""

from __future__ import annotations

from pathlib import Path

from evaluation.endpoint import Endpoint
from evaluation.tau2.benchmark import Tau2
from evaluation.trials import Progress, TrialRecord
from tests.evaluation.helpers.trials import run_trials


def run_tau2(
    benchmark: Tau2, endpoint: Endpoint, directory: Path, trials: int = 1, progress: Progress | None = None
) -> list[TrialRecord]:
    """Runs `benchmark` with the model at `endpoint`, which also plays the user unless the settings name one."""
    settings = dict(benchmark.settings)
    return run_trials(Tau2(**settings | {"user": settings["user"] or endpoint}), endpoint, directory, trials, progress)
