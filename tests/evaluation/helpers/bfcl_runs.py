"""Shared by the tests of BFCL: its environment, the benchmark with test settings, and outcomes by task."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from evaluation.bfcl.benchmark import Bfcl
from evaluation.trials import TrialRecord
from tests.evaluation.helpers.replay import AnswerPolicy, ReplayServer
from tests.helpers.paths import ROOT

PYTHON = ROOT / ".venv-bfcl/bin/python"

Serve = Callable[[AnswerPolicy], ReplayServer]
needs_bfcl = pytest.mark.skipif(not PYTHON.is_file(), reason="BFCL's own environment is not built (make setup)")


def bfcl(tasks: dict[str, tuple[str, ...]], **more: Any) -> Bfcl:
    """Runs `tasks` once, without retries."""
    return Bfcl(**{"smoke": tasks, "python": PYTHON, "retries": 0, "attempts": 1, **more})


def outcomes(records: Iterable[TrialRecord]) -> dict[str, bool | None]:
    return {record.task_id: record.success for record in records}
