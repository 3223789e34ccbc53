"""What is run of τ²-bench, and how: the keys of conf/benchmark/tau2.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from core.settings import Settings, UserError
from evaluation.endpoint import Endpoint
from evaluation.tau2.tasks import DOMAINS, Split, split_tasks

INSPECT_VERSION = "0.26.0"
OFFICIAL_STEPS = 200


class OfficialSettings(Settings):
    """The official `tau2` executable, installed by the user, and the judge of its natural-language assertions (retail has them).

    `version` is the release it was installed from: it cannot be asked, and tasks differ between releases. The official code
    asks for its judge by a fixed name (`tau2_official.JUDGE`): the judge's server must offer that name. `judge.model` says
    what the judge really is, and is what records show.
    """

    executable: Path | None = None
    version: str | None = None
    judge: Endpoint | None = None


class Tau2Settings(Settings):
    """`smoke` lists task ids by domain; subset "full" runs all of `domains`. Of either only the tasks of `split` are run. `user` is
    the simulator's endpoint, None for the scripted customer; it may be hosted, so top_k is sent only if given. `max_steps` bounds the requests of both sides in one
    dialogue (official: 200 messages; another value is written into the harness name). A trial that was lost to
    infrastructure is tried `attempts` times in one run, a request in it `retries` times more; no request lasts
    longer than `timeout_s`, even if its answer is still coming."""

    backend: Literal["inspect", "official"] = "inspect"
    subset: Literal["smoke", "full"] = "smoke"
    smoke: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    domains: tuple[str, ...] = DOMAINS
    split: Split = "base"
    user: Endpoint | None = None
    official: OfficialSettings = OfficialSettings()
    max_steps: int = Field(default=OFFICIAL_STEPS, ge=1)
    seed: int = 0
    attempts: int = Field(default=2, ge=1)
    retries: int = Field(default=2, ge=0)
    timeout_s: float = Field(default=600.0, gt=0)

    @field_validator("user", mode="before")
    @classmethod
    def _top_k_only_if_given(cls, user: Any) -> Any:
        if isinstance(user, Mapping) and isinstance(sampling := user.get("sampling", {}), Mapping):
            return {**user, "sampling": {"top_k": 0, **sampling}}
        return user

    @property
    def harness(self) -> str:
        """A score from another harness must not stand beside one from this."""
        inspect = f"inspect-evals {INSPECT_VERSION} tau2"
        name = inspect if self.backend == "inspect" else f"official tau2 {self.official.version}"
        split = f", split {self.split}" if self.split != "base" else ""
        steps = f", {self.max_steps} steps" if self.max_steps != OFFICIAL_STEPS else ""
        return f"{name}{split}{steps}"

    def tasks(self) -> dict[str, tuple[str, ...]]:
        """Task ids by domain. Raises UserError for a domain or task that is not there, and where nothing is left."""
        chosen = {}
        for domain in self.smoke if self.subset == "smoke" else self.domains:
            base, split = split_tasks(domain, "base"), split_tasks(domain, self.split)
            wanted = self.smoke[domain] if self.subset == "smoke" else base
            if unknown := [name for name in wanted if name not in base]:
                raise UserError(f"τ² {domain} has no task {unknown[0]!r}; its ids are like {base[0]!r}")
            chosen[domain] = tuple(name for name in wanted if name in split)
        if not any(chosen.values()):
            raise UserError(
                f"no τ² task is left to run: subset={self.subset}, domains={list(chosen)}, split={self.split}"
            )
        return {domain: ids for domain, ids in chosen.items() if ids}


class Tau2Request(Settings):
    """What a backend is told: hold `trials` trials and keep them in `directory`, an absolute path."""

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
