"""τ²-bench's gold actions through the complete harness: telecom, and samples of airline and retail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluation.known_answers.tau2_model import GoldActions, greet_and_wait, request_origin
from evaluation.tau2.benchmark import Tau2
from evaluation.tau2.do_nothing import DO_NOTHING, do_nothing
from evaluation.tau2.tasks import tasks
from tests.evaluation.helpers.replay import AnswerPolicy, ReplayServer, Reply
from tests.evaluation.helpers.tau2_runs import run_tau2

GOLD = {"airline": ("5", "14", "24"), "retail": ("2", "35", "107")}
IDLE = {"airline": ("0", "2", "3"), "retail": ("10", "62", "88")}
"""Tasks in which the agent only waits: one passes, and in two a change or an answer is missing."""


@pytest.mark.slow
def test_gold_actions_pass_and_idling_passes_the_known_tasks(
    serve: Callable[[AnswerPolicy], ReplayServer], tmp_path: Path
) -> None:
    gold = GoldActions()

    def policy(body: dict[str, Any]) -> Reply:
        domain, task, _ = request_origin(body)
        return greet_and_wait(body) if task in IDLE.get(domain, ()) else gold(body)

    selected = {"telecom": tuple(tasks("telecom"))} | {domain: (*GOLD[domain], *IDLE[domain]) for domain in IDLE}
    benchmark = Tau2(smoke=selected, attempts=1, max_steps=100)
    records = run_tau2(benchmark, serve(policy).endpoint(), tmp_path)
    assert len(records) == sum(map(len, selected.values()))
    idle = [record for record in records if record.task_id in IDLE.get(record.category, ())]
    busy = [record for record in records if record not in idle]
    assert [record.task_id for record in busy if not record.success] == []
    assert sum(record.calls for record in busy) == sum(record.valid_calls for record in busy) > 0
    assert {(record.category, record.task_id) for record in idle if record.success} == {
        ("airline", "0"),
        ("retail", "10"),
    }
    assert do_nothing(idle) == {"airline": 1 / 3, "retail": 1 / 3}
    _check_transcripts(tmp_path)


def _check_transcripts(directory: Path) -> None:
    paths = sorted(str(path.relative_to(directory)) for path in directory.rglob("*.txt"))
    assert paths == [f"transcripts/{domain}/{task}-0.txt" for domain, ids in IDLE.items() for task in ids[1:]]
    transcript = (directory / paths[1]).read_text()
    assert "did not communicate the following required info: 4" in transcript
    assert "###STOP###" in transcript
    unchanged = (directory / "transcripts/retail/88-0.txt").read_text()
    assert 'got no change, expected {"order_id": ' in unchanged
    assert "does not match the expected state" in unchanged


def test_tasks_passed_by_doing_nothing_require_no_information() -> None:
    """The counts of EXPERIMENTS.md. `make eval-known` measures that these are the tasks."""
    counts = {domain: len(ids) for domain, ids in DO_NOTHING["inspect-evals"].items()}
    assert counts == {"airline": 19, "retail": 7, "telecom": 0}
    for domain in ("airline", "retail"):
        for task in DO_NOTHING["inspect-evals"][domain]:
            assert not tasks(domain)[task]["evaluation_criteria"]["communicate_info"]
