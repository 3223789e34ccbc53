"""Grades the recorded trials of an evaluation again, without running its models: what would today's graders say?

The run stays as it is. New records, scores and the changed verdicts go to its folder regraded/.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.files import write_json
from core.journal import write_jsonl
from core.manifest import Manifest, read_manifest
from core.messages import Frozen
from core.settings import UserError
from evaluation.benchmark import Benchmark, RecordedRun, Regraded
from evaluation.metrics.scores import RECORDS, ModelScores, read_records, score_model
from evaluation.targets import SHARED, EvaluateSettings, find_generations
from evaluation.trials import TrialRecord

REGRADED = "regraded"
"""Folder of a run with its new verdicts."""
NOT_RECORDED = "the benchmark does not record enough"


class ChangedVerdict(Frozen):
    """A trial whose verdict changed; `detail` is what decided now."""

    model: str
    benchmark: str
    category: str
    task_id: str
    trial: int
    before: bool
    after: bool
    detail: str


class RegradeReport(Frozen):
    """How many recorded verdicts of each benchmark were confirmed, which changed, and how many trials could not be
    graded again, by reason."""

    confirmed: dict[str, int]
    changed: tuple[ChangedVerdict, ...]
    not_graded: dict[str, dict[str, int]]
    models: tuple[ModelScores, ...]


def regrade(
    run: Path, manifest: Manifest, settings: EvaluateSettings, benchmarks: Mapping[str, Benchmark]
) -> RegradeReport:
    """Grades every scored trial of `benchmarks` again and writes regraded/records.jsonl and regraded/results.json.

    `manifest` and `settings` are the run's. Raises UserError if the run has no trial of these benchmarks.
    """
    records = [record for record in read_records(run) if record.benchmark in benchmarks]
    if not records:
        raise UserError(f"{run} has no trial of {', '.join(benchmarks)}")
    sources = {model["label"]: Path(model["model"]) for model in manifest.results.get("models", ())}
    found = [find_generations(settings, _training(path)) for path in sources.values()]
    generations = tuple(dict.fromkeys(path for paths in found for path in paths))
    verdicts: dict[tuple[str, str], Regraded] = {}
    for label in dict.fromkeys(record.model for record in records):
        for name, benchmark in benchmarks.items():
            own = [r for r in records if (r.model, r.benchmark) == (label, name) and r.success is not None]
            scratch = run / REGRADED / "scratch"
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir(parents=True)
            recorded = RecordedRun((run / label / name).resolve(), run / SHARED, generations, scratch.resolve())
            verdicts |= {(label, key): verdict for key, verdict in benchmark.regrade(own, recorded).items()}
            shutil.rmtree(scratch)
    report, regraded = _compare(records, verdicts)
    scores = tuple(
        score_model(label, str(sources.get(label, "")), {}, benchmarks, of_label, settings.ks)
        for label in dict.fromkeys(record.model for record in records)
        if (of_label := [record for record in regraded if record.model == label])
    )
    report = report.model_copy(update={"models": scores})
    write_jsonl(run / REGRADED / RECORDS, regraded)
    write_json(run / REGRADED / "results.json", report.model_dump(mode="json"))
    return report


def _training(model: Path) -> Manifest | None:
    """The manifest of the training run that a model lies in; None for a foreign model."""
    return read_manifest(model.parent) if (model.parent / "manifest.json").is_file() else None


def _compare(
    records: Sequence[TrialRecord], verdicts: Mapping[tuple[str, str], Regraded]
) -> tuple[RegradeReport, list[TrialRecord]]:
    """The report, still without scores, and the records with their new verdicts; those not graded again keep theirs."""
    confirmed: Counter[str] = Counter()
    not_graded: dict[str, Counter[str]] = {}
    changed: list[ChangedVerdict] = []
    regraded = list(records)
    for number, record in enumerate(records):
        verdict = verdicts.get((record.model, record.key), Regraded(None, NOT_RECORDED))
        if record.success is None:
            verdict = Regraded(None, "infrastructure error")
        if record.success is None or verdict.success is None:
            not_graded.setdefault(record.benchmark, Counter())[verdict.detail] += 1
        elif verdict.success == record.success:
            confirmed[record.benchmark] += 1
        else:
            place = record.model_dump(include={"model", "benchmark", "category", "task_id", "trial"})
            verdicts_of_trial = {"before": record.success, "after": verdict.success, "detail": verdict.detail}
            changed.append(ChangedVerdict(**place, **verdicts_of_trial))
            regraded[number] = record.model_copy(update={"success": verdict.success})
    counts = {name: dict(reasons) for name, reasons in not_graded.items()}
    report = RegradeReport(confirmed=dict(confirmed), changed=tuple(changed), not_graded=counts, models=())
    return report, regraded
