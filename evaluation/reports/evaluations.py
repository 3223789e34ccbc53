"""Finished evaluations as tables and figures read them: their models' trials, and every caveat that belongs beside a figure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.runs import Manifest, read_manifest
from core.settings import UserError
from evaluation.metrics.scores import by_benchmark, read_records
from evaluation.trials import TrialRecord


@dataclass(frozen=True)
class Model:
    """A model of an evaluation. `source` is the directory or address it was served from, `mixture` the pipelines that it was
    trained on, where that is known."""

    label: str
    source: str
    mixture: tuple[str, ...]
    records: tuple[TrialRecord, ...]

    @property
    def name(self) -> str:
        """Its label, with what it was trained on."""
        trained_on = "+".join(self.mixture)
        return f"{self.label}: {trained_on}" if trained_on and not self.label.startswith(trained_on) else self.label

    @property
    def lost(self) -> int:
        return sum(record.success is None for record in self.records)

    def of(self, benchmark: str) -> list[TrialRecord]:
        return [record for record in self.records if record.benchmark == benchmark]


@dataclass(frozen=True)
class Evaluated:
    """One evaluation run; `number` is that of its footnote."""

    number: int
    manifest: Manifest
    models: tuple[Model, ...]

    @property
    def records(self) -> list[TrialRecord]:
        return [record for model in self.models for record in model.records]

    def mark(self, model: Model) -> str:
        """What stands behind a model's name: its run's footnote, and † where trials were lost."""
        return f"[{self.number}]" + ("†" if model.lost else "")

    def caveats(self) -> list[str]:
        """What a reader must know: the run, its models, subset and sampling, harnesses, simulators and judges, each
        benchmark's own notes, truncations, trials lost."""
        config = self.manifest.config
        lines = [f"run {self.manifest.run_id}, profile {config['profile']}"]
        if config["profile"] == "cpu":
            lines.append(
                "models of the cpu profile are tiny: their figures show that the harness runs, not what the method is worth"
            )
        lines += [f"{model.label}: {model.source}" for model in self.models]
        lines.append(f"subset {config['subset']}, {config['trials']} trials, {json.dumps(config['sampling'])}")
        notes = self.manifest.results.get("caveats", {})
        for name, records in by_benchmark(self.records).items():
            lines.append("; ".join([_benchmark_caveat(name, records), *notes.get(name, [])]))
        cut = sum(record.truncations > 0 for record in self.records)
        lines += [f"{cut} of {len(self.records)} trials had a reply cut at max_tokens"] if cut else []
        if lost := sum(model.lost for model in self.models):
            lines.append(
                f"† {lost} of {len(self.records)} trials were lost to infrastructure and left out (allow_errors=true): "
                "figures with † are of the others only"
            )
        return lines


def _benchmark_caveat(name: str, records: Sequence[TrialRecord]) -> str:
    """What one benchmark's figures of a run rest on."""
    tasks = Counter(category for category, _ in {(record.category, record.task_id) for record in records})
    parts = [f"{name}: {', '.join(sorted({record.harness for record in records}))}"]
    parts.append(
        f"{tasks.total()} tasks ({', '.join(f'{count} {category}' for category, count in sorted(tasks.items()))})"
    )
    for what in ("simulator", "judge"):
        if names := sorted({value for record in records if (value := getattr(record, what))}):
            parts.append(f"{what} {', '.join(names)}")
    return "; ".join(parts)


def read_evaluations(runs: Sequence[Path]) -> list[Evaluated]:
    """Raises UserError for a run that is none, or was not scored, and where two runs used different harnesses of a benchmark."""
    found = [_read(number, run) for number, run in enumerate(runs, start=1)]
    harnesses: dict[str, tuple[str, str]] = {}
    for each in found:
        for record in each.records:
            run, harness = harnesses.setdefault(record.benchmark, (each.manifest.run_id, record.harness))
            if harness != record.harness:
                raise UserError(
                    f"one table cannot hold {record.benchmark} scored by {harness!r} (run {run}) and by "
                    f"{record.harness!r} (run {each.manifest.run_id}): name runs of one harness"
                )
    return found


def _read(number: int, run: Path) -> Evaluated:
    manifest = read_manifest(run)
    if manifest.status != "finished":
        raise UserError(f"{run} was not scored: trials are missing or were lost; the same `make eval` goes on with it")
    records = read_records(run)
    models = [
        Model(
            label=model["label"],
            source=model["model"],
            mixture=tuple(sorted(name for name, weight in model["mixture"].items() if weight > 0)),
            records=tuple(record for record in records if record.model == model["label"]),
        )
        for model in manifest.results["models"]
    ]
    return Evaluated(number, manifest, tuple(models))
