"""The trials that a page shows, also those of an unfinished run, and the names under which it links them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Literal

from core.manifest import Manifest
from evaluation.metrics.scores import RECORDS, read_records, run_records
from evaluation.targets import LOGS, SHARED
from evaluation.trials import TrialRecord, read_trials


def recorded_trials(run: Path, manifest: Manifest) -> list[TrialRecord]:
    """Every trial that a run has recorded. Of an unfinished run, also those of models and benchmarks that are not
    completed: their journals are read. Raises UserError for records that cannot be read."""
    if manifest.status == "finished":
        return read_records(run)
    by_label: dict[str, dict[str, list[TrialRecord]]] = defaultdict(dict)
    for journal in sorted(run.glob("*/*/trials.jsonl")):
        label, benchmark = journal.parts[-3:-1]
        if label not in (SHARED, LOGS):
            by_label[label][benchmark] = read_trials(journal)
    written = read_records(run) if (run / RECORDS).is_file() else []
    journals = [record for label, by_name in by_label.items() for record in run_records(run, label, by_name)]
    return list({(record.model, record.key): record for record in (*written, *journals)}.values())


def transcript_key(record: TrialRecord) -> str:
    """The key of a trial's transcript: model/benchmark/category/task/trial."""
    return f"{record.model}/{record.key}"


def outcome(record: TrialRecord) -> Literal["passed", "failed", "error"]:
    return "error" if record.success is None else "passed" if record.success else "failed"
