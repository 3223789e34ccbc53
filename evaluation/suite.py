"""All benchmarks for one or more models: find them, serve them, hold the trials, sum them up (paper, Section 4, Appendix F)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from core.messages import Frozen
from core.runs import latest, read_manifest
from core.sampling import Sampling
from core.serving import EngineSettings, probe, serve
from core.settings import Settings, UserError
from core.tracking import TrackingSettings
from evaluation.benchmark import Benchmark
from evaluation.endpoint import Endpoint
from evaluation.passk import Summary, summarize
from evaluation.results import TrialRecord


class EvaluateSettings(Settings):
    """conf/evaluate.yaml. `models` are training runs or checkpoint directories, None for the newest training; `base_url` an
    endpoint served elsewhere, instead. `ks` are the k of Pass@k and Pass^k."""

    profile: str
    outputs: Path
    seed: int
    models: tuple[Path, ...] | None
    base_url: str | None
    served_model: str | None
    generation: Path | None
    untrained: bool
    trials: int = Field(ge=1)
    ks: tuple[int, ...]
    concurrency: int = Field(ge=1)
    sampling: Sampling
    subset: Literal["smoke", "full"]
    domains: tuple[str, ...]
    dialogue_steps: int
    simulator: str | None
    simulator_model: str
    benchmarks: dict[str, dict[str, Any]] = Field(min_length=1)
    serving: EngineSettings
    tracking: TrackingSettings


@dataclass(frozen=True)
class Target:
    """A model to score: a directory to serve, or a server that is there already."""

    label: str
    path: Path | None = None
    base_url: str = ""
    served_model: str = ""


class ModelScores(Frozen):
    """What one model scored. `categories` is keyed "benchmark/category"; `figures` are each benchmark's own aggregates."""

    label: str
    model: str
    categories: dict[str, Summary]
    benchmarks: dict[str, Summary]
    figures: dict[str, dict[str, float | None]]
    harnesses: dict[str, str] = Field(default_factory=dict)

    @property
    def lost(self) -> int:
        """Trials that were not held, for reasons of infrastructure."""
        return sum(summary.infrastructure_errors for summary in self.benchmarks.values())


def find_targets(settings: EvaluateSettings) -> tuple[list[Target], Path | None]:
    """The models to score and the training run they come from, if any. Raises UserError for what cannot be found."""
    if settings.base_url:
        served = probe(settings.base_url)
        name = settings.served_model or served[0]
        if name not in served:
            raise UserError(f"{settings.base_url} serves {', '.join(served)}, not {name}")
        return [Target("endpoint", base_url=settings.base_url, served_model=name)], None
    models = settings.models or (latest(settings.outputs, "train", "make train"),)
    targets = [target for model in models for target in _targets_of(model, settings.untrained)]
    if len(models) > 1:
        targets = [replace(target, label=f"{target.label}-{number}") for number, target in enumerate(targets)]
    return targets, next((model for model in models if (model / "manifest.json").is_file()), None)


def _targets_of(model: Path, untrained: bool) -> list[Target]:
    if (model / "checkpoint").is_dir():
        both = [Target("trained", model / "checkpoint"), Target("untrained", model / "untrained")]
        return both if untrained and (model / "untrained").is_dir() else both[:1]
    if (model / "config.json").is_file():
        return [Target("model", model)]
    raise UserError(f"{model} is neither a training run (with checkpoint/) nor a model (with config.json)")


def find_generation(settings: EvaluateSettings, training: Path | None) -> Path | None:
    """The generation run that made the training data: the one given, or the one whose group the training belongs to."""
    if settings.generation:
        return settings.generation
    if training is None:
        return None
    path = settings.outputs / "generate" / read_manifest(training).group
    return path if path.is_dir() else None


@contextmanager
def served(target: Target, settings: EvaluateSettings, logs: Path) -> Iterator[Endpoint]:
    """The target as an endpoint, served by us where it is a directory."""
    fixed = {"sampling": settings.sampling, "concurrency": settings.concurrency}
    if target.path is None:
        yield Endpoint(base_url=target.base_url, model=target.served_model, **fixed)
        return
    with serve(target.path, settings.serving, logs, target.label) as urls:
        yield Endpoint(base_url=urls[0], model=target.label, **fixed)


def sum_up(
    target: Target, benchmarks: Mapping[str, Benchmark], records: Mapping[str, list[TrialRecord]], ks: tuple[int, ...]
) -> ModelScores:
    """The scores of one model's trials, by benchmark."""
    categories: dict[str, list[TrialRecord]] = {}
    for benchmark, trials in records.items():
        for trial in trials:
            categories.setdefault(f"{benchmark}/{trial.category}", []).append(trial)
    return ModelScores(
        label=target.label,
        model=str(target.path or target.served_model),
        categories={name: summarize(trials, ks) for name, trials in sorted(categories.items())},
        benchmarks={name: summarize(trials, ks) for name, trials in records.items()},
        figures={name: benchmark.figures(records[name]) for name, benchmark in benchmarks.items()},
        harnesses={name: trials[0].harness for name, trials in records.items() if trials},
    )


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
