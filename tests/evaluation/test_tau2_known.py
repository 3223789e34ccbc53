"""τ²-bench's gold actions through the whole harness: telecom whole, a sample of airline and retail (whole: make eval-known)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from replay import Brain, ReplayServer, Reply

from evaluation.known.tau2 import GoldActions, nothing, whose
from evaluation.tau2 import DO_NOTHING, do_nothing, run
from evaluation.tau2_data import tasks
from evaluation.tau2_settings import Tau2Settings

AIRLINE, RETAIL = ("10", "14", "24"), ("2", "35", "88", "107")
IDLE = {"airline": ("0", "2", "3"), "retail": ("10", "62", "88")}
"""Tasks that are waited through: passed, failed for the database, failed for what was to be told; and so again."""


@pytest.mark.slow
def test_gold_actions_are_rewarded_and_idling_as_is_known(
    serve: Callable[[Brain], ReplayServer], tmp_path: Path
) -> None:
    gold = GoldActions()

    def brain(body: dict[str, Any]) -> Reply:
        idle = whose(body)[1] in IDLE.get(whose(body)[0], ()) and body["request_id"].split("/")[-3] == "1"
        return nothing(body) if idle else gold(body)

    server = serve(brain)
    telecom = Tau2Settings(
        smoke={"telecom": tuple(tasks("telecom")), "airline": AIRLINE, "retail": RETAIL}, attempts=1, max_steps=100
    )
    records = run(server.endpoint(), telecom, tmp_path / "gold", trials=1)
    assert len(records) == 114 + len(AIRLINE) + len(RETAIL)
    assert [record.task_id for record in records if not record.success] == []
    assert not (tmp_path / "gold" / "transcripts").exists()
    assert sum(record.calls for record in records) == sum(record.valid_calls for record in records)

    idle = run(server.endpoint(), Tau2Settings(smoke=dict(IDLE), attempts=1, max_steps=20), tmp_path / "idle", trials=2)
    passed = {(record.category, record.task_id) for record in idle if record.success and record.trial == 1}
    assert passed == {("airline", "0"), ("retail", "10")}
    assert all(record.success for record in idle if record.trial == 0), "the gold actions"
    assert do_nothing(idle) == {"airline": 1 / 3, "retail": 1 / 3}
    _check_transcripts(tmp_path / "idle")


def _check_transcripts(directory: Path) -> None:
    found = sorted(str(path.relative_to(directory)) for path in directory.rglob("*.txt"))
    assert found == [f"transcripts/{domain}/{task}-1.txt" for domain, ids in IDLE.items() for task in ids[1:]]
    told = (directory / found[1]).read_text()
    assert "did not communicate the following required info: 4" in told
    assert "###STOP###" in told
    changed = (directory / "transcripts/retail/88-1.txt").read_text()
    assert 'made no change, expected {"order_id": ' in changed
    assert "does not match the expected state" in changed


def test_what_doing_nothing_passes_changes_nothing_and_has_nothing_to_tell() -> None:
    """The counts of EXPERIMENTS.md; that these tasks are the ones is what `make eval-known` measures."""
    counts = {domain: len(ids) for domain, ids in DO_NOTHING["inspect-evals"].items()}
    assert counts == {"airline": 19, "retail": 7, "telecom": 0}
    for domain in ("airline", "retail"):
        for task in DO_NOTHING["inspect-evals"][domain]:
            assert not tasks(domain)[task]["evaluation_criteria"]["communicate_info"]
