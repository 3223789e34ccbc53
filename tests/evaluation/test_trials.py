"""Trial records and their journal."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from evaluation.endpoint import Endpoint
from evaluation.trials import TrialRecord, completed_keys, open_journal, read_trials
from tests.evaluation.helpers.trials import trial


def retail(number: int, success: bool | None) -> TrialRecord:
    return trial("tau2", "retail", 7, number, success)


def test_the_last_record_of_a_trial_counts_and_errors_are_not_completed(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    assert read_trials(path) == []
    with open_journal(path) as journal:
        for record in (retail(0, None), retail(1, True), retail(2, None)):
            journal.append(record, record.key)
    assert completed_keys(path) == {"tau2/retail/7/1"}
    with open_journal(path) as journal:
        journal.append(retail(0, False), retail(0, False).key)
    assert [record.success for record in read_trials(path)] == [False, True, None]
    assert completed_keys(path) == {"tau2/retail/7/0", "tau2/retail/7/1"}


@pytest.mark.parametrize(("success", "error"), [(None, None), (True, "down")])
def test_a_trial_has_either_a_success_or_an_error(success: bool | None, error: str | None) -> None:
    with pytest.raises(ValidationError, match="either a success or an infrastructure error"):
        TrialRecord.model_validate(retail(0, True).model_dump() | {"success": success, "infrastructure_error": error})


def test_the_api_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = Endpoint(base_url="http://127.0.0.1:1/v1", model="m", api_key_env="A_KEY")
    monkeypatch.delenv("A_KEY", raising=False)
    assert endpoint.api_key() == "EMPTY"
    monkeypatch.setenv("A_KEY", "secret")
    assert endpoint.api_key() == "secret"
