"""What the tests of BFCL share: the environment's place, settings, and outcomes by task."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from evaluation.bfcl.benchmark import BfclSettings
from evaluation.trials import TrialRecord
from tests.evaluation.helpers.replay import AnswerPolicy, ReplayServer
from tests.helpers.paths import ROOT

PYTHON = ROOT / ".venv-bfcl/bin/python"

Serve = Callable[[AnswerPolicy], ReplayServer]
needs_bfcl = pytest.mark.skipif(not PYTHON.is_file(), reason="BFCL's own environment is not built (make setup)")


def settings(tasks: dict[str, tuple[str, ...]], **more: Any) -> BfclSettings:
    return BfclSettings(**{"smoke": tasks, "python": PYTHON, "retries": 0, "attempts": 1, **more})


def outcome(records: Iterable[TrialRecord]) -> dict[str, bool | None]:
    return {record.task_id: record.success for record in records}
