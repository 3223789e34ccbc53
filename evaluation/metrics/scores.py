"""The scores of a run's trials by benchmark, category and axis, and the differences between models."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field

from core.journal import read_jsonl
from core.messages import Frozen
from core.settings import UserError
from evaluation.benchmark import Benchmark
from evaluation.metrics.pass_at_k import Comparison, Summary, compare, pass_at_k, summarize
from evaluation.transcripts import transcript_path
from evaluation.trials import TrialRecord

K = TypeVar("K")

RECORDS = "records.jsonl"
VARIED, DATABASES, DATABASE = "varied", "databases", "database"
"""Special axes of a trial: the name of the varied axis, the kind of databases, and the database."""


class ModelScores(Frozen):
    """The scores of one model. `mixture` is the weight of each pipeline in its training data; `categories` has keys
    "benchmark/category"; `metrics` are each benchmark's own aggregates."""

    label: str
    model: str
    mixture: dict[str, float] = Field(default_factory=dict)
    categories: dict[str, Summary]
    benchmarks: dict[str, Summary]
    metrics: dict[str, dict[str, float | None]]


class Difference(Frozen):
    """`first` - `second` in Pass@1 of a category or benchmark, on the tasks that both models completed."""

    name: str
    first: str
    second: str
    comparison: Comparison


def run_records(run: Path, label: str, by_name: Mapping[str, Sequence[TrialRecord]]) -> list[TrialRecord]:
    """One model's records as the run's records.jsonl has them: `label` is the model's name, and the path of a
    transcript, if one exists, is relative to the run's directory. `by_name` has the records of each benchmark."""
    found = []
    for benchmark, records in by_name.items():
        for record in records:
            path = record.transcript or transcript_path(record.category, record.task_id, record.trial)
            transcript = f"{label}/{benchmark}/{path}"
            existing = transcript if (run / transcript).is_file() else None
            found.append(record.model_copy(update={"model": label, "transcript": existing}))
    return found


def read_records(run: Path) -> list[TrialRecord]:
    """Every trial of a run. Raises UserError for a run without records."""
    if not (run / RECORDS).is_file():
        raise UserError(f"{run} has no {RECORDS}: `make eval` writes it when all trials of a model have been tried")
    return list(read_jsonl(run / RECORDS, TrialRecord))


def by_benchmark(records: Iterable[TrialRecord]) -> dict[str, list[TrialRecord]]:
    return _grouped(records, lambda record: record.benchmark)


def by_category(records: Iterable[TrialRecord]) -> dict[str, list[TrialRecord]]:
    return dict(sorted(_grouped(records, lambda record: f"{record.benchmark}/{record.category}").items()))


def by_axis(records: Iterable[TrialRecord]) -> dict[str, dict[tuple[str, str], list[TrialRecord]]]:
    """For each axis with several values, its trials by (databases, value). All other axes are at their base, so that
    values are comparable. Empty without trials that have axes."""
    with_axes = [record for record in records if record.axes]
    names = dict.fromkeys(name for record in with_axes for name in record.axes if name not in (VARIED, DATABASES))
    by_name = {}
    for name in names:
        chosen = [record for record in with_axes if record.axes[VARIED] in ("", name)]
        if len({record.axes[name] for record in chosen}) > 1:
            groups: dict[tuple[str, str], list[TrialRecord]] = defaultdict(list)
            for record in chosen:
                groups[record.axes[DATABASES], record.axes[name]].append(record)
            by_name[name] = dict(sorted(groups.items(), key=lambda item: _numeric_order(item[0])))
    return by_name


def score_model(
    label: str,
    model: str,
    mixture: Mapping[str, float],
    benchmarks: Mapping[str, Benchmark],
    records: Sequence[TrialRecord],
    ks: tuple[int, ...],
) -> ModelScores:
    """The scores of one model from its trials; `ks` are the k of Pass@k and Pass^k."""
    groups = by_benchmark(records)
    return ModelScores(
        label=label,
        model=model,
        mixture=dict(mixture),
        categories={name: summarize(trials, ks) for name, trials in by_category(records).items()},
        benchmarks={name: summarize(groups.get(name, []), ks) for name in benchmarks},
        metrics={name: benchmark.metrics(groups.get(name, [])) for name, benchmark in benchmarks.items()},
    )


def differences(records: Sequence[TrialRecord]) -> list[Difference]:
    """Compares every two models, in the order of the records, on every benchmark and then on every category."""
    models = _grouped(records, lambda record: record.model)
    found = []
    for first, second in combinations(models, 2):
        for group in (by_benchmark, by_category):
            firsts, seconds = group(models[first]), group(models[second])
            for name in (name for name in firsts if name in seconds):
                if comparison := compare(seconds[name], firsts[name], pass_at_k, 1):
                    found.append(Difference(name=name, first=first, second=second, comparison=comparison))
    return found


def score_rows(scores: Sequence[ModelScores]) -> list[dict[str, Any]]:
    """One row per model and category, for a table of the tracker."""
    return [
        {
            "model": score.label,
            "category": category,
            "trials": summary.trials,
            "infrastructure_errors": summary.infrastructure_errors,
            "valid_call_rate": summary.valid_call_rate,
            **{f"pass@{k}": estimate and estimate.value for k, estimate in summary.pass_at.items()},
            **{f"pass^{k}": estimate and estimate.value for k, estimate in summary.pass_hat.items()},
        }
        for score in scores
        for category, summary in score.categories.items()
    ]


def _grouped(records: Iterable[TrialRecord], key: Callable[[TrialRecord], K]) -> dict[K, list[TrialRecord]]:
    groups: dict[K, list[TrialRecord]] = defaultdict(list)
    for record in records:
        groups[key(record)].append(record)
    return dict(groups)


def _numeric_order(group: tuple[str, str]) -> tuple[str, int, str]:
    """A sort key under which numbers are ordered by value."""
    databases, value = group
    return databases, int(value) if value.isdigit() else 0, value
