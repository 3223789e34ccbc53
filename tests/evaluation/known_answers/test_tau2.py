"""τ²-bench's gold actions through the whole harness: telecom whole, a sample of airline and retail (whole: make eval-known)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluation.known_answers.tau2_model import GoldActions, nothing, whose
from evaluation.tau2.benchmark import run
from evaluation.tau2.do_nothing import DO_NOTHING, do_nothing
from evaluation.tau2.settings import Tau2Settings
from evaluation.tau2.tasks import tasks
from tests.evaluation.helpers.replay import AnswerPolicy, ReplayServer, Reply

GOLD = {"airline": ("5", "14", "24"), "retail": ("2", "35", "107")}
IDLE = {"airline": ("0", "2", "3"), "retail": ("10", "62", "88")}
"""Tasks that are waited through: one that is passed so, and two where a change or an answer is missing."""


@pytest.mark.slow
def test_gold_actions_are_rewarded_and_idling_as_is_known(
    serve: Callable[[AnswerPolicy], ReplayServer], tmp_path: Path
) -> None:
    gold = GoldActions()

    def brain(body: dict[str, Any]) -> Reply:
        domain, task, _ = whose(body)
        return nothing(body) if task in IDLE.get(domain, ()) else gold(body)

    wanted = {"telecom": tuple(tasks("telecom"))} | {domain: (*GOLD[domain], *IDLE[domain]) for domain in IDLE}
    chosen = Tau2Settings(smoke=wanted, attempts=1, max_steps=100)
    records = run(serve(brain).endpoint(), chosen, tmp_path, trials=1)
    assert len(records) == sum(map(len, wanted.values()))
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
    found = sorted(str(path.relative_to(directory)) for path in directory.rglob("*.txt"))
    assert found == [f"transcripts/{domain}/{task}-0.txt" for domain, ids in IDLE.items() for task in ids[1:]]
    told = (directory / found[1]).read_text()
    assert "did not communicate the following required info: 4" in told
    assert "###STOP###" in told
    changed = (directory / "transcripts/retail/88-0.txt").read_text()
    assert 'made no change, expected {"order_id": ' in changed
    assert "does not match the expected state" in changed


def test_what_doing_nothing_passes_changes_nothing_and_has_nothing_to_tell() -> None:
    """The counts of EXPERIMENTS.md; that these tasks are the ones is what `make eval-known` measures."""
    counts = {domain: len(ids) for domain, ids in DO_NOTHING["inspect-evals"].items()}
    assert counts == {"airline": 19, "retail": 7, "telecom": 0}
    for domain in ("airline", "retail"):
        for task in DO_NOTHING["inspect-evals"][domain]:
            assert not tasks(domain)[task]["evaluation_criteria"]["communicate_info"]
