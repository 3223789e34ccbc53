"""Recorded BFCL answers are checked again by the official code, without a server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evaluation.benchmark import RecordedRun
from evaluation.known_answers.bfcl_model import GroundTruth, half_wrong
from tests.evaluation.helpers.bfcl_runs import Serve, bfcl, needs_bfcl
from tests.evaluation.helpers.trials import run_trials

TASKS = {
    "simple_python": tuple(f"simple_python_{number}" for number in range(8)),
    "irrelevance": ("irrelevance_8", "irrelevance_49"),
    "multi_turn_base": ("multi_turn_base_29", "multi_turn_base_37"),
}


@needs_bfcl
@pytest.mark.slow
def test_verdicts_are_confirmed_and_changed_answers_found(serve: Serve, tmp_path: Path) -> None:
    server = serve(half_wrong(GroundTruth()))
    benchmark = bfcl(TASKS)
    records = run_trials(benchmark, server.endpoint(), tmp_path / "run")
    assert {record.success for record in records} == {True, False}
    server.close()
    run = RecordedRun(tmp_path / "run", tmp_path, (), tmp_path / "one")
    verdicts = benchmark.regrade(records, run)
    assert {key: verdict.success for key, verdict in verdicts.items()} == {r.key: r.success for r in records}

    right = next(r for r in records if r.success and r.category == "simple_python")
    (path,) = (tmp_path / "run/trial-0/result").rglob("*simple_python_result.json")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if line["id"] == right.task_id:
            line["result"] = [{"no_such_function": "{}"}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    again = benchmark.regrade(records, RecordedRun(tmp_path / "run", tmp_path, (), tmp_path / "two"))
    assert {key for key in again if again[key].success != verdicts[key].success} == {right.key}
    assert again[right.key].detail
