"""What the trials of a run amount to: scores by category, by axis, by benchmark, and how two models differ."""

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
"""Axes of a trial that say which of the others is varied, on which kind of databases it was held, and on which one."""


class ModelScores(Frozen):
    """What one model scored. `categories` is keyed "benchmark/category"; `metrics` are each benchmark's own aggregates; `mixture`
    the weights of the pipelines that it was trained on."""

    label: str
    model: str
    mixture: dict[str, float] = Field(default_factory=dict)
    categories: dict[str, Summary]
    benchmarks: dict[str, Summary]
    metrics: dict[str, dict[str, float | None]]


class Difference(Frozen):
    """`first` - `second` in Pass@1 of a category or benchmark, on the tasks that both were held on."""

    name: str
    first: str
    second: str
    comparison: Comparison


def located(run: Path, label: str, held: Mapping[str, Sequence[TrialRecord]]) -> list[TrialRecord]:
    """The trials of one model under its label, by benchmark in `held`, each with the path of its transcript from the run's
    directory where there is one: as they stand in the run's records.jsonl."""
    found = []
    for benchmark, records in held.items():
        for record in records:
            path = record.transcript or transcript_path(record.category, record.task_id, record.trial)
            transcript = f"{label}/{benchmark}/{path}"
            there = transcript if (run / transcript).is_file() else None
            found.append(record.model_copy(update={"model": label, "transcript": there}))
    return found


def read_records(run: Path) -> list[TrialRecord]:
    """Every trial of a run. Raises UserError where the run has no records."""
    if not (run / RECORDS).is_file():
        raise UserError(f"{run} has no {RECORDS}: `make eval` writes it when all trials of a model have been tried")
    return list(read_jsonl(run / RECORDS, TrialRecord))


def by_benchmark(records: Iterable[TrialRecord]) -> dict[str, list[TrialRecord]]:
    return _grouped(records, lambda record: record.benchmark)


def by_category(records: Iterable[TrialRecord]) -> dict[str, list[TrialRecord]]:
    return dict(sorted(_grouped(records, lambda record: f"{record.benchmark}/{record.category}").items()))


def by_axis(records: Iterable[TrialRecord]) -> dict[str, dict[tuple[str, str], list[TrialRecord]]]:
    """For each axis that has several values the trials by (databases, value), all other axes at their base; so the values are
    compared like with like. Without trials that have axes: none."""
    with_axes = [record for record in records if record.axes]
    names = dict.fromkeys(name for record in with_axes for name in record.axes if name not in (VARIED, DATABASES))
    found = {}
    for name in names:
        chosen = [record for record in with_axes if record.axes[VARIED] in ("", name)]
        if len({record.axes[name] for record in chosen}) > 1:
            groups: dict[tuple[str, str], list[TrialRecord]] = defaultdict(list)
            for record in chosen:
                groups[record.axes[DATABASES], record.axes[name]].append(record)
            found[name] = dict(sorted(groups.items(), key=lambda item: _natural(item[0])))
    return found


def sum_up(
    label: str,
    model: str,
    mixture: Mapping[str, float],
    benchmarks: Mapping[str, Benchmark],
    records: Sequence[TrialRecord],
    ks: tuple[int, ...],
) -> ModelScores:
    """The scores of one model's trials."""
    held = by_benchmark(records)
    return ModelScores(
        label=label,
        model=model,
        mixture=dict(mixture),
        categories={name: summarize(trials, ks) for name, trials in by_category(records).items()},
        benchmarks={name: summarize(held.get(name, []), ks) for name in benchmarks},
        metrics={name: benchmark.metrics(held.get(name, [])) for name, benchmark in benchmarks.items()},
    )


def differences(records: Sequence[TrialRecord]) -> list[Difference]:
    """Every two models on every benchmark and every category, first benchmarks, in the order of the records."""
    models = _grouped(records, lambda record: record.model)
    found = []
    for first, second in combinations(models, 2):
        for group in (by_benchmark, by_category):
            ours, theirs = group(models[first]), group(models[second])
            for name in (name for name in ours if name in theirs):
                if comparison := compare(theirs[name], ours[name], pass_at_k, 1):
                    found.append(Difference(name=name, first=first, second=second, comparison=comparison))
    return found


def score_rows(scores: Sequence[ModelScores]) -> list[dict[str, Any]]:
    """One row a model and category, for a table in the tracker."""
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


def _natural(group: tuple[str, str]) -> tuple[str, int, str]:
    """Sorts numbers by their value."""
    databases, value = group
    return databases, int(value) if value.isdigit() else 0, value
