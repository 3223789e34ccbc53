"""Whom to evaluate: find the models of a run, where they were trained, and serve them (paper, Section 4, Appendix F)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from core.runs import Manifest, latest, read_manifest, sha256
from core.sampling import Sampling
from core.serving import EngineSettings, probe, serve
from core.settings import Settings, UserError
from core.tracking import TrackingSettings
from evaluation.endpoint import Endpoint

Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value or ())]
"""One name, or a list of them, or null for none."""

SHARED, LOGS = "shared", "logs"
"""Folders of a run beside those of its models."""


class EvaluateSettings(Settings):
    """conf/evaluate.yaml. `models` are training runs or checkpoint directories; `base_url` names endpoints served elsewhere, with
    `served_model` and `api_key_env` for each of them or one for all. With neither, the newest training is evaluated. `ks` are
    the k of Pass@k and Pass^k; with `allow_errors` a run is scored although trials were lost to infrastructure."""

    profile: str
    outputs: Path
    seed: int
    models: tuple[Path, ...] | None
    base_url: Names
    served_model: Names
    api_key_env: Names
    generation: Path | None
    untrained: bool
    trials: int = Field(ge=1)
    ks: tuple[int, ...]
    concurrency: int = Field(ge=1)
    sampling: Sampling
    subset: Literal["smoke", "full"]
    allow_errors: bool
    benchmarks: dict[str, dict[str, Any]] = Field(min_length=1)
    serving: EngineSettings
    tracking: TrackingSettings

    @field_validator("benchmarks", mode="before")
    @classmethod
    def _only_chosen(cls, benchmarks: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """A profile also sets keys of benchmarks that are not chosen; without a `_target_` they are dropped."""
        return {name: keys for name, keys in benchmarks.items() if "_target_" in keys}


@dataclass(frozen=True)
class Target:
    """A model to score: a directory to serve, or a server that is there already. `training` is the run that made it, if known."""

    label: str
    path: Path | None = None
    base_url: str = ""
    served_model: str = ""
    api_key_env: str = ""
    training: Manifest | None = None

    @property
    def mixture(self) -> dict[str, float]:
        """The weights of the pipelines it was trained on, none where that is not known or it was not trained."""
        trained = self.training and self.label != "untrained"
        return dict(self.training.config.get("mixture", {}).get("weights", {})) if self.training and trained else {}

    @property
    def source(self) -> str:
        """Where it comes from, for a reader: without the part of the path that is this machine's matter."""
        if self.path is None:
            return f"{self.served_model} at {self.base_url}"
        path = self.path.resolve()
        return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)

    @property
    def validation_domains(self) -> frozenset[str]:
        """The domains that its training kept for validation."""
        return frozenset(self.training.results["data"]["validation_domains"] if self.training else ())


def find_targets(settings: EvaluateSettings) -> list[Target]:
    """The models to score, each with a label of its own. Raises UserError for what cannot be found."""
    served = _endpoints(settings)
    models = settings.models or (() if served else (latest(settings.outputs, "train", "make train"),))
    trained = [target for model in models for target in _targets_of(model, settings.untrained)]
    if len(models) + len(served) > 1:
        trained = _without_doubles([_named_by_mixture(target) for target in trained])
    return _with_distinct_labels([*trained, *served])


def _endpoints(settings: EvaluateSettings) -> list[Target]:
    urls = settings.base_url
    names = _one_each("served_model", settings.served_model, len(urls)) or [""] * len(urls)
    keys = _one_each("api_key_env", settings.api_key_env, len(urls))
    return [_endpoint(*given) for given in zip(urls, names, keys, strict=True)]


def _one_each(key: str, given: Sequence[str], count: int) -> list[str]:
    if len(given) not in (0, 1, count):
        raise UserError(f"{key} names {len(given)}; expected one for each of the {count} base_url, or one for all")
    return [*given] * count if len(given) == 1 else [*given]


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


def _targets_of(model: Path, untrained: bool) -> list[Target]:
    if (model / "checkpoint").is_dir():
        training = read_manifest(model) if (model / "manifest.json").is_file() else None
        both = [
            Target("trained", model / "checkpoint", training=training),
            Target("untrained", model / "untrained", training=training),
        ]
        return both if untrained and (model / "untrained").is_dir() else both[:1]
    if (model / "config.json").is_file():
        run = model.resolve().parent
        ours = model.name == "checkpoint" and (run / "manifest.json").is_file()
        return [Target("model", model, training=read_manifest(run) if ours else None)]
    raise UserError(f"{model} is neither a training run (with checkpoint/) nor a model (with config.json)")


def _named_by_mixture(target: Target) -> Target:
    return replace(target, label="+".join(sorted(target.mixture))) if target.mixture else target


def _without_doubles(targets: Sequence[Target]) -> list[Target]:
    """Untrained models each once: several trainings begin from the same one."""
    first: dict[str, Target] = {}
    for target in targets:
        assert target.path, "a model to be served"
        first.setdefault(sha256(target.path) if target.label == "untrained" else str(target.path), target)
    return list(first.values())


def _with_distinct_labels(targets: Sequence[Target]) -> list[Target]:
    """Each label names a folder of the run, which has others beside them."""
    taken = {SHARED, LOGS}
    named = []
    for target in targets:
        label, number = target.label, 1
        while label in taken:
            number += 1
            label = f"{target.label}-{number}"
        taken.add(label)
        named.append(replace(target, label=label))
    return named


def find_generation(settings: EvaluateSettings, training: Manifest | None) -> Path | None:
    """The generation run that made the training data: the one given, or the one whose group the training belongs to."""
    if settings.generation:
        return settings.generation
    if training is None:
        return None
    path = settings.outputs / "generate" / training.group
    return path if path.is_dir() else None


@contextmanager
def served(target: Target, settings: EvaluateSettings, logs: Path) -> Iterator[Endpoint]:
    """The target as an endpoint, served by us where it is a directory."""
    fixed = {"sampling": settings.sampling, "concurrency": settings.concurrency}
    if target.path is None:
        yield Endpoint(base_url=target.base_url, model=target.served_model, api_key_env=target.api_key_env, **fixed)
        return
    with serve(target.path, settings.serving, logs, target.label) as urls:
        yield Endpoint(base_url=urls[0], model=target.label, **fixed)
