"""The generation stage: toolsets, then each pipeline in turn, into one run directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import Field

from core.records import read_jsonl, write_jsonl
from core.runs import Run
from core.serving import EngineSettings
from core.settings import Settings
from core.tracking import TrackingSettings
from generation.databases import read_schema, sample_rows
from generation.environments.base import Worlds
from generation.llm.base import LLM
from generation.pipeline import Pipeline, Subject, origin, run
from generation.rollout import Domain, RolloutSettings
from generation.seeds.base import Seed
from generation.statistics import Outcome, Statistics
from generation.toolmaking import make_toolsets
from generation.toolset import Toolset
from generation.user import UserSettings


class PipelineSettings(Settings):
    """One entry of `pipelines`: an environment (`_target_`) and how its dialogues are rolled out."""

    environment: dict[str, Any]
    rollout: RolloutSettings


class GenerateSettings(Settings):
    """conf/generate.yaml. `n` dialogues are started in each of `pipelines`.

    `toolsets` starts from the toolsets.jsonl of an earlier run instead of making tools; `serve` is a model (directory or hub
    id) that is served with `serving` for the time of the run and given to `llm` as its base URLs.
    """

    profile: str
    outputs: Path
    seed: int
    n: int = Field(ge=1)
    concurrency: int = Field(ge=1)
    max_tools: int = Field(ge=3)
    tool_attempts: int = Field(ge=1)
    rows_per_table: int = Field(ge=1)
    toolsets: Path | None
    serve: str | None
    serving: EngineSettings
    pipelines: dict[str, PipelineSettings] = Field(min_length=1)
    llm: dict[str, Any]
    seeds: dict[str, Any]
    user: UserSettings
    tracking: TrackingSettings


class Watcher(Protocol):
    """Who is told how the stage goes."""

    def toolset(self, toolset: Toolset) -> None: ...

    def pipeline(self, name: str, n: int) -> Callable[[Outcome], None]:
        """Begin to watch a pipeline of `n` dialogues; returns what each outcome is to be given to."""
        ...


@dataclass(frozen=True)
class Parts:
    """What the config's `_target_`s became."""

    llm: LLM
    seeds: tuple[Seed, ...]
    worlds: Mapping[str, Worlds]


def subjects(toolsets: list[Toolset], rows_per_table: int, seed: int) -> tuple[Subject, ...]:
    """The domains of the toolsets, each with its schema and a sample of its rows."""
    return tuple(
        Subject(
            toolset,
            Domain(
                toolset.domain,
                read_schema(toolset.database, toolset.domain),
                sample_rows(toolset.database, rows_per_table, seed),
            ),
        )
        for toolset in toolsets
    )


async def generate(settings: GenerateSettings, parts: Parts, job: Run, watcher: Watcher) -> list[Statistics]:
    """Fill the run's directory; everything already in it from an interrupted session is kept. Raises UserError for seeds
    that cannot be used and OSError where nothing can be written. The model is closed at the end."""
    try:
        return await _generate(settings, parts, job, watcher)
    finally:
        await parts.llm.close()


async def _generate(settings: GenerateSettings, parts: Parts, job: Run, watcher: Watcher) -> list[Statistics]:
    path = job.directory / "toolsets.jsonl"
    if settings.toolsets:
        write_jsonl(path, read_jsonl(settings.toolsets, Toolset))
    toolsets = await make_toolsets(
        parts.llm, parts.seeds, path, settings.max_tools, settings.tool_attempts, watcher.toolset
    )
    domains = subjects(toolsets, settings.rows_per_table, settings.seed)
    figures = []
    for name, pipeline in settings.pipelines.items():
        worlds = parts.worlds[name]
        try:
            figures.append(
                await run(
                    Pipeline(
                        name=name,
                        subjects=domains,
                        worlds=worlds,
                        llm=parts.llm,
                        rollout=pipeline.rollout,
                        user=settings.user,
                        seed=settings.seed,
                        origin=origin(job.manifest.fingerprint, job.manifest.commit, settings.seed),
                    ),
                    job.directory / name,
                    settings.n,
                    settings.concurrency,
                    watcher.pipeline(name, settings.n),
                )
            )
        finally:
            worlds.close()
    return figures
