"""make regrade: new verdicts next to the old ones, which stay as they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from core.journal import read_jsonl, write_jsonl
from core.manifest import read_manifest
from core.settings import UserError, typed
from evaluation.benchmark import Benchmark, EvaluationContext, RecordedRun, Regraded
from evaluation.metrics.scores import read_records
from evaluation.regrade import regrade
from evaluation.targets import EvaluateSettings
from evaluation.trials import TrialRecord
from scripts.evaluate import main as evaluate
from scripts.regrade import main
from tests.evaluation.helpers.replay import AnswerPolicy, ReplayServer, say
from tests.evaluation.test_run import configured


class Strict(Benchmark):
    """Grades every trial of even tasks as failed, and cannot tell about task 3."""

    def run(self, context: EvaluationContext, directory: Path, progress: Any = None) -> list[TrialRecord]:
        raise AssertionError("no trial is run again")

    def metrics(self, records: Sequence[TrialRecord]) -> dict[str, float | None]:
        return {"passed": float(sum(record.success is True for record in records))}

    def regrade(self, records: Sequence[TrialRecord], run: RecordedRun) -> dict[str, Regraded]:
        assert run.scratch.is_dir()
        assert all(record.success is not None for record in records)
        verdicts = {r.key: Regraded(int(r.task_id) % 2 == 1, f"graded {r.task_id}") for r in records}
        return verdicts | {r.key: Regraded(None, "gone") for r in records if r.task_id == "3"}


@pytest.fixture
def run(serve: Callable[[AnswerPolicy], ReplayServer], tmp_path: Path) -> Path:
    """A finished evaluation of a model that does nothing on the held-out benchmark."""
    evaluate(configured(serve(lambda body: say("I am here to help.")).base_url, tmp_path))
    return (tmp_path / "evaluate" / "latest").resolve()


def test_changed_verdicts_are_found_and_old_ones_stay(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    records = read_records(run)
    wrong = records[0].model_copy(update={"success": True, "blame": None, "blame_reason": None})
    write_jsonl(run / "records.jsonl", [wrong, *records[1:]])
    before = (run / "records.jsonl").read_bytes(), (run / "results.json").read_bytes()
    monkeypatch.setattr("sys.argv", ["regrade", f"run={run}"])
    main()
    output = " ".join(capsys.readouterr().out.split())
    assert "heldout: 1 verdicts confirmed, 1 changed" in output
    assert f"{wrong.category}/{wrong.task_id} trial 0: passed before, fails now" in output
    assert ((run / "records.jsonl").read_bytes(), (run / "results.json").read_bytes()) == before
    assert [r.success for r in read_jsonl(run / "regraded/records.jsonl", TrialRecord)] == [False, False]
    results = json.loads((run / "regraded/results.json").read_text())
    assert results["changed"][0]["task_id"] == wrong.task_id
    assert results["models"][0]["benchmarks"]["heldout"]["pass_at"]["1"]["value"] == 0.0
    assert not (run / "regraded/scratch").exists()


def test_what_cannot_be_graded_again_keeps_its_verdict_and_is_counted(run: Path) -> None:
    base = read_records(run)[0].model_copy(update={"blame": None, "blame_reason": None})
    trials = [base.model_copy(update={"task_id": str(n), "success": True}) for n in range(4)]
    errors = {"task_id": "5", "success": None, "infrastructure_error": "down"}
    other = base.model_copy(update={"benchmark": "other"})
    write_jsonl(run / "records.jsonl", [*trials, base.model_copy(update=errors), other])
    manifest = read_manifest(run)
    report = regrade(run, manifest, typed(manifest.config, EvaluateSettings), {"heldout": Strict(), "other": Coin()})
    assert report.confirmed == {"heldout": 1}
    assert [(change.task_id, change.before, change.after) for change in report.changed] == [
        ("0", True, False),
        ("2", True, False),
    ]
    assert report.not_graded == {
        "heldout": {"gone": 1, "infrastructure error": 1},
        "other": {"the benchmark does not record enough": 1},
    }
    assert report.models[0].metrics["heldout"] == {"passed": 2.0}


class Coin(Strict):
    """A benchmark that cannot grade again."""

    def regrade(self, records: Sequence[TrialRecord], run: RecordedRun) -> dict[str, Regraded]:
        return Benchmark.regrade(self, records, run)


def test_a_run_without_trials_of_a_benchmark_is_refused(run: Path) -> None:
    manifest = read_manifest(run)
    with pytest.raises(UserError, match="has no trial of other"):
        regrade(run, manifest, typed(manifest.config, EvaluateSettings), {"other": Coin()})
