"""Finished evaluations as input of tables and figures: the trials of their models, and the caveats of every score."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.manifest import Manifest, read_manifest
from core.settings import UserError
from evaluation.metrics.scores import by_benchmark, read_records
from evaluation.trials import TrialRecord


@dataclass(frozen=True)
class EvaluatedModel:
    """A model of an evaluation. `source` is the directory or address that it was served from, `mixture` the pipelines
    of its training data, if known."""

    label: str
    source: str
    mixture: tuple[str, ...]
    records: tuple[TrialRecord, ...]

    @property
    def name(self) -> str:
        """The label, with the pipelines of the training data."""
        trained_on = "+".join(self.mixture)
        return f"{self.label}: {trained_on}" if trained_on and not self.label.startswith(trained_on) else self.label

    @property
    def infrastructure_errors(self) -> int:
        return sum(record.success is None for record in self.records)

    def records_of(self, benchmark: str) -> list[TrialRecord]:
        return [record for record in self.records if record.benchmark == benchmark]


@dataclass(frozen=True)
class Evaluation:
    """One evaluation run; `number` is its footnote's."""

    number: int
    manifest: Manifest
    models: tuple[EvaluatedModel, ...]

    @property
    def records(self) -> list[TrialRecord]:
        return [record for model in self.models for record in model.records]

    def mark(self, model: EvaluatedModel) -> str:
        """The suffix of a model's name: its run's footnote, and † if trials had infrastructure errors."""
        return f"[{self.number}]" + ("†" if model.infrastructure_errors else "")

    def caveats(self) -> list[str]:
        """The notes below every table and figure: the run, its models, subset and sampling; harness, tasks, simulator
        and judge of each benchmark with its own caveats; truncations and infrastructure errors."""
        config = self.manifest.config
        lines = [f"run {self.manifest.run_id}, profile {config['profile']}"]
        if config["profile"] == "tiny" and any(model.mixture for model in self.models):
            lines.append(
                "profile=tiny trains a model of 0.7M parameters from scratch: "
                "its scores show that the harness works, not what the method achieves"
            )
        lines += [f"{model.label}: {model.source}" for model in self.models]
        lines.append(f"subset {config['subset']}, {config['trials']} trials, {json.dumps(config['sampling'])}")
        of_benchmarks = self.manifest.results.get("caveats", {})
        for name, records in by_benchmark(self.records).items():
            lines.append("; ".join([_benchmark_caveat(name, records), *of_benchmarks.get(name, [])]))
        truncated = sum(record.truncations > 0 for record in self.records)
        lines += [f"{truncated} of {len(self.records)} trials had a reply cut at max_tokens"] if truncated else []
        if errors := sum(model.infrastructure_errors for model in self.models):
            lines.append(
                f"† {errors} of {len(self.records)} trials had infrastructure errors and are excluded "
                "(allow_errors=true): scores with † are of the others only"
            )
        return lines


def _benchmark_caveat(name: str, records: Sequence[TrialRecord]) -> str:
    """Harnesses, numbers of tasks, simulators and judges behind a benchmark's scores."""
    tasks = Counter(category for category, _ in {(record.category, record.task_id) for record in records})
    parts = [f"{name}: {', '.join(sorted({record.harness for record in records}))}"]
    parts.append(
        f"{tasks.total()} tasks ({', '.join(f'{count} {category}' for category, count in sorted(tasks.items()))})"
    )
    for role in ("simulator", "judge"):
        if names := sorted({model for record in records if (model := getattr(record, role))}):
            parts.append(f"{role} {', '.join(names)}")
    return "; ".join(parts)


def read_evaluations(runs: Sequence[Path]) -> list[Evaluation]:
    """Read scored runs. Raises UserError for a directory that is not a scored run, and if two runs used different
    harnesses of one benchmark."""
    evaluations = [_read_evaluation(number, run) for number, run in enumerate(runs, start=1)]
    harnesses: dict[str, tuple[str, str]] = {}
    for evaluation in evaluations:
        run_id = evaluation.manifest.run_id
        for record in evaluation.records:
            first_run, harness = harnesses.setdefault(record.benchmark, (run_id, record.harness))
            if harness != record.harness:
                raise UserError(
                    f"one table cannot contain {record.benchmark} scored by {harness!r} (run {first_run}) and by "
                    f"{record.harness!r} (run {run_id}): name runs of one harness"
                )
    return evaluations


def _read_evaluation(number: int, run: Path) -> Evaluation:
    manifest = read_manifest(run)
    if manifest.status != "finished":
        raise UserError(
            f"{run} was not scored: trials are missing or had infrastructure errors; the same `make eval` resumes it"
        )
    records = read_records(run)
    models = [
        EvaluatedModel(
            label=model["label"],
            source=model["model"],
            mixture=tuple(sorted(name for name, weight in model["mixture"].items() if weight > 0)),
            records=tuple(record for record in records if record.model == model["label"]),
        )
        for model in manifest.results["models"]
    ]
    return Evaluation(number, manifest, tuple(models))
