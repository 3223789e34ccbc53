"""The models to evaluate: finds them in training runs or behind endpoints (paper, Appendix F)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from core.manifest import Manifest, read_manifest
from core.runs import latest, sha256
from core.sampling import Sampling
from core.servers import probe
from core.serving import EngineSettings
from core.settings import Paths, Settings, UserError
from core.tracking import TrackingSettings
from evaluation.endpoint import Endpoint
from evaluation.plan import AssumeSettings

Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value or ())]
"""One name, a list of names, or null."""

SHARED, LOGS = "shared", "logs"
"""Folders of a run next to those of its models."""


class EvaluateSettings(Settings):
    """Settings of an evaluation: the keys of conf/evaluate.yaml."""

    profile: str = Field(description="group of defaults, a file of conf/profile/evaluate/")
    outputs: Path = Field(description="directory of all runs")
    report: int | None = Field(
        ge=0, description="most dialogues and trials in the report that is written at the end; null: no report"
    )
    seed: int = Field(description="random seed of the official benchmarks; the held-out one has its own")
    models: tuple[Path, ...] | None = Field(
        description="training runs or checkpoint directories; null without base_url: the newest finished training"
    )
    base_url: Names = Field(description="endpoints that are already served, evaluated besides `models`")
    served_model: Names = Field(
        description="model names, one per base_url or one for all; null: the only model that an endpoint serves"
    )
    api_key_env: Names = Field(description="environment variables with the API keys, one per base_url or one for all")
    generation: Paths | None = Field(
        description="generation run of the training data, or a list of them; null: as the manifest of the training names "
        "them"
    )
    untrained: bool = Field(description="also evaluate the untrained model of each training run")
    trials: int = Field(ge=1, description="trials per task")
    ks: tuple[int, ...] = Field(description="the k of Pass@k and Pass^k")
    concurrency: int = Field(ge=1, description="requests in flight per endpoint")
    sampling: Sampling = Field(description="sampling parameters of the evaluated models")
    chat_template_kwargs: dict[str, Any] | None = Field(
        description="variables of the models' chat templates, such as enable_thinking; null: those that each model was "
        "trained with"
    )
    subset: Literal["smoke", "full"] = Field(
        description="smoke: a fixed small selection of each benchmark's tasks; full: all tasks"
    )
    allow_errors: bool = Field(
        description="score a run despite trials with infrastructure errors; all its metrics are then marked"
    )
    benchmarks: dict[str, dict[str, Any]] = Field(
        min_length=1, description="benchmark -> its own keys, see conf/benchmark/"
    )
    serving: EngineSettings = Field(description="how vLLM serves the models")
    start_next: bool | None = Field(
        description="start the next model's engine while the last one is evaluated; null: on a CPU with three cores and "
        "memory for both, or where enough GPUs are idle. true on one GPU needs serving.gpu_memory_share of at most 0.5"
    )
    tracking: TrackingSettings = Field(description="experiment tracking")
    plan: bool = Field(description="instead of evaluating, print what it would take")
    assume: AssumeSettings

    @field_validator("benchmarks", mode="before")
    @classmethod
    def _only_chosen(cls, benchmarks: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """A profile also sets keys of benchmarks that are not chosen; without a `_target_` they are dropped."""
        return {name: keys for name, keys in benchmarks.items() if "_target_" in keys}


@dataclass(frozen=True)
class Target:
    """A model to evaluate: a directory to serve (`path`) or an endpoint (`base_url`), and its training run, if
    known."""

    label: str
    path: Path | None = None
    base_url: str = ""
    served_model: str = ""
    api_key_env: str = ""
    training: Manifest | None = None

    @property
    def mixture(self) -> dict[str, float]:
        """The weight of each pipeline in its training data; empty if unknown or untrained."""
        if self.training is None or self.label == "untrained":
            return {}
        return dict(self.training.config.get("mixture", {}).get("weights", {}))

    @property
    def chat_template_kwargs(self) -> dict[str, Any]:
        """The variables of the chat template with which its training rendered the data; empty if unknown."""
        return dict(self.training.config.get("model", {}).get("chat_template_kwargs", {})) if self.training else {}

    @property
    def source(self) -> str:
        """The model's origin as reports show it: paths below the working directory are relative."""
        if self.path is None:
            return f"{self.served_model} at {self.base_url}"
        path = self.path.resolve()
        return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)

    @property
    def validation_domains(self) -> frozenset[str]:
        """The domains that its training kept for validation."""
        return frozenset(self.training.results["data"]["validation_domains"] if self.training else ())


def find_targets(settings: EvaluateSettings) -> list[Target]:
    """The models to evaluate, with distinct labels. Raises UserError if one cannot be found."""
    endpoints = _endpoints(settings)
    models = settings.models or (() if endpoints else (latest(settings.outputs, "train", "make train"),))
    local = [target for model in models for target in _targets_in(model, settings.untrained)]
    if len(models) + len(endpoints) > 1:
        local = _without_duplicates([_named_by_mixture(target) for target in local])
    return _with_distinct_labels([*local, *endpoints])


def _endpoints(settings: EvaluateSettings) -> list[Target]:
    urls = settings.base_url
    names = _per_url("served_model", settings.served_model, len(urls)) or [""] * len(urls)
    keys = _per_url("api_key_env", settings.api_key_env, len(urls))
    return [_endpoint(url, name, key) for url, name, key in zip(urls, names, keys, strict=True)]


def _per_url(key: str, values: Sequence[str], count: int) -> list[str]:
    """One value per URL; a single value applies to all. Raises UserError for any other number of them."""
    if len(values) not in (0, 1, count):
        raise UserError(f"{key} names {len(values)}; expected one for each of the {count} base_url, or one for all")
    return [*values] * count if len(values) == 1 else [*values]


def _endpoint(base_url: str, name: str, api_key_env: str) -> Target:
    key = Endpoint(base_url=base_url, model=name, api_key_env=api_key_env).api_key()
    offered = probe(base_url, key=key)
    if not name and len(offered) != 1:
        raise UserError(f"{base_url} serves {', '.join(offered) or 'no model'}; name one of them as served_model")
    name = name or offered[0]
    if name not in offered:
        raise UserError(f"{base_url} serves {', '.join(offered)}, not {name}")
    label = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "endpoint"
    return Target(label, base_url=base_url, served_model=name, api_key_env=api_key_env)


def _targets_in(model: Path, untrained: bool) -> list[Target]:
    """The models in a training run or a model directory. Raises UserError if a part of a training run is gone."""
    if (model / "checkpoint").is_dir():
        training = _manifest(model)
        trained = Target("trained", model / "checkpoint", training=training)
        base = model / "untrained"
        if not untrained:
            return [trained]
        if not (base / "config.json").is_file():
            where = f"it links to {base.readlink()}, which is gone" if base.is_symlink() else f"there is no {base}"
            raise UserError(
                f"the untrained model of {model} is missing: {where}; restore it, or evaluate without the baseline "
                "(untrained=false)"
            )
        return [trained, Target("untrained", base, training=training)]
    if (model / "config.json").is_file():
        run = model.resolve().parent
        in_training_run = model.name == "checkpoint" and (run / "manifest.json").is_file()
        return [Target("model", model, training=read_manifest(run) if in_training_run else None)]
    raise UserError(f"{model} is neither a training run (with checkpoint/) nor a model (with config.json)")


def _manifest(run: Path) -> Manifest:
    """The manifest of a training run: what its template and its validation domains were."""
    if not (run / "manifest.json").is_file():
        raise UserError(
            f"{run} has a checkpoint/, but no manifest.json: expected a complete training run, or the model alone "
            f"(models=[{run / 'checkpoint'}])"
        )
    return read_manifest(run)


def _named_by_mixture(target: Target) -> Target:
    return replace(target, label="+".join(sorted(target.mixture))) if target.mixture else target


def _without_duplicates(targets: Sequence[Target]) -> list[Target]:
    """Keeps one of several equal untrained models: several trainings may start from the same model."""
    first: dict[str, Target] = {}
    for target in targets:
        assert target.path, "a model to serve"
        first.setdefault(sha256(target.path) if target.label == "untrained" else str(target.path), target)
    return list(first.values())


def _with_distinct_labels(targets: Sequence[Target]) -> list[Target]:
    """Each label names a folder of the run, which also has folders of other names."""
    taken = {SHARED, LOGS}
    labelled = []
    for target in targets:
        label, number = target.label, 1
        while label in taken:
            number += 1
            label = f"{target.label}-{number}"
        taken.add(label)
        labelled.append(replace(target, label=label))
    return labelled


def find_generations(settings: EvaluateSettings, training: Manifest | None) -> tuple[Path, ...]:
    """The generation runs of the training data: the configured ones, or those that the training's manifest names, below
    `outputs` or where the training read them. Empty if unknown, as when one of them is gone: what was trained on is
    then known in part only."""
    if settings.generation:
        return settings.generation
    if training is None:
        return ()
    names = training.results.get("generations") or [training.group]
    read = [Path(path) for path in training.config.get("data") or ()]
    places = [
        [settings.outputs / "generate" / name, *(path for path in read if path.resolve().name == name)]
        for name in dict.fromkeys(names)
    ]
    found = [path for paths in places for path in [path for path in paths if path.is_dir()][:1]]
    return tuple(found) if len(found) == len(places) else ()
