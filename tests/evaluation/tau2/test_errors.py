"""τ²-bench against servers that fail: what is lost is counted and never scored, and resumed to what an undisturbed run gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from evaluation.known_answers.tau2_model import GoldActions, nothing, whose
from evaluation.tau2.benchmark import run
from evaluation.tau2.settings import Tau2Settings
from evaluation.tau2.tasks import tasks
from evaluation.trials import TrialRecord
from tests.evaluation.helpers.replay import AnswerPolicy, ReplayServer, Reply

GOLD = GoldActions()
Serve = Callable[[AnswerPolicy], ReplayServer]
TASKS = tuple(tasks("telecom"))[4::11]
IDLE = TASKS[1::2]
"""They are waited through and so failed: figures that are not all alike."""
HELD_UP = TASKS[0]
"""Its answers never end."""


def answer(body: dict[str, Any]) -> Reply:
    return nothing(body) if whose(body)[1] in IDLE else GOLD(body)


class Troubled:
    """The same answers until the server is gone: a third of the requests meet an error, one task's answers do not end."""

    def __init__(self, dies_after: int) -> None:
        self.dies_after = dies_after
        self.server: ReplayServer | None = None
        self.seen: Counter[str] = Counter()

    def __call__(self, body: dict[str, Any]) -> Reply:
        self.seen[body["request_id"]] += 1
        if self.seen.total() > self.dies_after and self.server:
            self.server.die()
        if whose(body)[1] == HELD_UP:
            return {"hang": True}
        # Which ones does not depend on what else is in flight; the same request may do better when it is sent again.
        if crc32(f"{body['request_id']} {self.seen[body['request_id']]}".encode()) % 3 == 0:
            return {"status": 500, "message": "something broke"}
        return answer(body)


def plain(records: list[TrialRecord]) -> dict[str, TrialRecord]:
    return {record.key: record.model_copy(update={"seconds": 0.0}) for record in records}


@pytest.mark.slow
def test_lost_trials_are_counted_and_resumed_to_the_same_figures(serve: Serve, tmp_path: Path) -> None:
    chosen = Tau2Settings(smoke={"telecom": TASKS}, attempts=1)
    undisturbed = run(serve(answer).endpoint(concurrency=4), chosen, tmp_path / "undisturbed", trials=1)
    assert {record.task_id: record.success for record in undisturbed} == {name: name not in IDLE for name in TASKS}

    troubled = Troubled(dies_after=34)
    troubled.server = serve(troubled)
    hasty = chosen.model_copy(update={"retries": 1, "timeout_s": 4.0})
    disturbed = run(troubled.server.endpoint(concurrency=4), hasty, tmp_path / "disturbed", trials=1)
    lost = [record for record in disturbed if record.success is None]
    reasons = Counter(str(record.infrastructure_error).split(":")[1].strip() for record in lost)
    # Whether the endless answer meets its own limit or the server's end first is a matter of time.
    assert {"InternalServerError", "APIConnectionError"} <= set(reasons), "a third, the dead"
    assert HELD_UP in {record.task_id for record in lost}
    assert len(disturbed) == len(TASKS)
    assert 0 < len(lost) < len(TASKS)
    assert plain([record for record in disturbed if record not in lost]).items() <= plain(undisturbed).items()

    resumed = run(serve(answer).endpoint(concurrency=4), chosen, tmp_path / "disturbed", trials=1)
    assert plain(resumed) == plain(undisturbed)
    lines = (tmp_path / "disturbed" / "trials.jsonl").read_text().count("\n")
    assert lines == len(TASKS) + len(lost), "what was held was not held again"
