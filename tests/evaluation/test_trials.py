"""Trial records and their journal."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from core.sampling import Sampling
from evaluation.endpoint import Endpoint
from evaluation.trials import TrialRecord, completed_keys, open_journal, read_trials


def trial(number: int, success: bool | None) -> TrialRecord:
    return TrialRecord(
        benchmark="tau2",
        harness="h",
        category="retail",
        task_id="7",
        trial=number,
        model="m",
        success=success,
        infrastructure_error="down" if success is None else None,
        stop_reason="stop",
        sampling=Sampling(),
    )


def test_the_last_record_of_a_trial_counts_and_errors_are_not_settled(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    assert read_trials(path) == []
    with open_journal(path) as journal:
        for record in (trial(0, None), trial(1, True), trial(2, None)):
            journal.append(record, record.key)
    assert completed_keys(path) == {"tau2/retail/7/1"}
    with open_journal(path) as journal:
        journal.append(trial(0, False), trial(0, False).key)
    assert [record.success for record in read_trials(path)] == [False, True, None]
    assert completed_keys(path) == {"tau2/retail/7/0", "tau2/retail/7/1"}


@pytest.mark.parametrize(("success", "error"), [(None, None), (True, "down")])
def test_a_trial_is_either_scored_or_lost(success: bool | None, error: str | None) -> None:
    with pytest.raises(ValidationError, match="either a success or an infrastructure error"):
        TrialRecord.model_validate(trial(0, True).model_dump() | {"success": success, "infrastructure_error": error})


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = Endpoint(base_url="http://127.0.0.1:1/v1", model="m", api_key_env="A_KEY")
    monkeypatch.delenv("A_KEY", raising=False)
    assert endpoint.api_key() == "EMPTY"
    monkeypatch.setenv("A_KEY", "secret")
    assert endpoint.api_key() == "secret"
