"""The generation stage: toolsets, then each pipeline in turn, into one run directory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import Field

from core.provenance import Provenance
from core.runs import Run
from core.serving import EngineSettings
from core.settings import Settings, UserError
from core.tracking import TrackingSettings
from generation.database.schema import read_schema, sample_rows
from generation.dialogue.setup import DialogueSettings, RolloutSettings
from generation.dialogue.user import UserSettings
from generation.environments.base import EnvironmentFactory
from generation.llm.base import LLM
from generation.metrics.statistics import CostSettings, Statistics
from generation.metrics.user_quality import QualitySettings
from generation.outcomes import Outcome
from generation.pipeline import DomainTools, Pipeline, StartStates
from generation.prompts import prompt_ids
from generation.runner import AttemptSettings, Executor, run
from generation.seeds.base import Seeds
from generation.stages import DialogueStage, Stage, ToolsetStage
from generation.start_states.start_states import StartSettings
from generation.tasks.writer import Domain, TaskSettings
from generation.tools.from_questions import refuse_held_out
from generation.tools.toolset import Toolset
from generation.toolset_runner import ToolsetSource, from_file, from_seed, prepare


class PipelineSettings(Settings):
    """One entry of `pipelines`: an environment (`_target_`), the tasks and how dialogues about them are rolled out."""

    environment: dict[str, Any]
    tasks: TaskSettings
    rollout: RolloutSettings


class GenerateSettings(Settings):
    """conf/generate.yaml. `n` dialogues are started in each of `pipelines`, and pass through `stages` in their order.

    `toolsets` starts from the toolsets.jsonl of an earlier run instead of seeds, `start` from dialogues that are there already;
    `resume` takes up that unfinished run or refuses; `attempts` and `executor` say how often and where a dialogue is made;
    `tasks_per_dialogue` is the number of tasks in every dialogue, instead of each pipeline's own weights; `serve` is a model (directory or
    hub id) that is served with `serving` for the time of the run and given to `llm` as its base URLs.
    """

    profile: str
    outputs: Path
    resume: Path | None
    seed: int
    n: int = Field(ge=1)
    concurrency: int = Field(ge=1)
    max_tools: int = Field(ge=3)
    rows_per_table: int = Field(ge=1)
    tasks_per_dialogue: int | None = Field(ge=1, le=20)
    toolsets: Path | None
    start: StartSettings
    attempts: AttemptSettings
    executor: dict[str, Any]
    serve: str | None
    serving: EngineSettings
    stages: dict[str, dict[str, Any]] = Field(min_length=1)
    pipelines: dict[str, PipelineSettings] = Field(min_length=1)
    llm: dict[str, Any]
    domains: dict[str, Any]
    user: UserSettings
    quality: QualitySettings
    costs: CostSettings
    tracking: TrackingSettings

    def dialogues(self, pipeline: str) -> DialogueSettings:
        """The settings of one pipeline's dialogues, with `tasks_per_dialogue` applied."""
        chosen = self.pipelines[pipeline]
        tasks = chosen.tasks
        if self.tasks_per_dialogue:
            tasks = tasks.model_copy(update={"count": {self.tasks_per_dialogue: 1.0}})
        return DialogueSettings(tasks, chosen.rollout, self.user)


class Watcher(Protocol):
    """Who is told how the stage goes."""

    def toolsets(self, n: int) -> Callable[[Toolset], None]:
        """Begin to watch the making of `n` toolsets; returns what each is to be given to."""
        ...

    def pipeline(self, name: str, n: int) -> Callable[[Outcome], None]:
        """Begin to watch a pipeline of `n` dialogues; returns what each outcome is to be given to."""
        ...


@dataclass(frozen=True)
class GenerationComponents:
    """What the config's `_target_`s became, and the files it names. `llm` makes a client of the model: one that was used belongs
    to the event loop that used it."""

    llm: Callable[[], LLM]
    toolset_sources: tuple[ToolsetSource, ...]
    stages: tuple[Stage, ...]
    environments: Mapping[str, EnvironmentFactory]
    start_states: StartStates
    executor: Executor


def toolset_sources(toolsets: Path | None, seeds: Seeds, start_states: StartStates) -> tuple[ToolsetSource, ...]:
    """Where the toolsets of a run begin: in a file, in the file beside given dialogues of ours, or in the seeds. Dialogues that
    bring their own tools need none. Raises UserError for what cannot be read and for held-out seeds."""
    file = start_states.settings.file
    if toolsets is None and file and (file.parent.parent / "toolsets.jsonl").is_file():
        toolsets = file.parent.parent / "toolsets.jsonl"
    if toolsets:
        return tuple(from_file(toolsets))
    given = [start.dialogue for start in start_states.starts if start.dialogue]
    if given and all(dialogue.tools for dialogue in given) and not start_states.settings.inject:
        return ()
    loaded = seeds.load()
    refuse_held_out(loaded)
    return tuple(from_seed(seed) for seed in loaded)


def domains(toolsets: Sequence[Toolset], rows_per_table: int, seed: int) -> tuple[DomainTools, ...]:
    """The domains of the toolsets that have tools, each with what a task writer may see: its schema and a sample of rows."""
    return tuple(_domain_tools(toolset, rows_per_table, seed) for toolset in toolsets if toolset.tools)


def _domain_tools(toolset: Toolset, rows_per_table: int, seed: int) -> DomainTools:
    if toolset.database is None:
        return DomainTools(toolset, Domain(toolset.domain, None, toolset.rows))
    schema = read_schema(toolset.database, toolset.domain)
    return DomainTools(toolset, Domain(toolset.domain, schema, sample_rows(toolset.database, rows_per_table, seed)))


async def generate(
    settings: GenerateSettings, components: GenerationComponents, job: Run, watcher: Watcher
) -> list[Statistics]:
    """Fill the run's directory; everything already in it from an interrupted session is kept. Raises UserError for seeds
    that cannot be used and OSError where nothing can be written."""
    stages = [stage for stage in components.stages if isinstance(stage, ToolsetStage)]
    makes_dialogues = any(isinstance(stage, DialogueStage) for stage in components.stages)
    if makes_dialogues:
        _refuse_engines(components)
    on_toolset = watcher.toolsets(len(components.toolset_sources))
    async with closing(components.llm()) as llm:
        path = job.directory / "toolsets.jsonl"
        toolsets = await prepare(components.toolset_sources, stages, llm, path, settings.concurrency, on_toolset)
    sampling = {key: settings.llm[key] for key in ("sampling", "role_sampling", "error_rate") if key in settings.llm}
    provenance = Provenance(config=job.manifest.fingerprint, commit=job.manifest.commit, sampling=sampling)
    figures = []
    async with closing(components.llm()) as llm:
        for name in settings.pipelines if makes_dialogues else ():
            pipeline = build_pipeline(name, settings, components, llm, toolsets, provenance)
            try:
                figures.append(await _run(pipeline, settings, components, job, watcher))
            finally:
                pipeline.environments.close()
    return figures


async def _run(
    pipeline: Pipeline, settings: GenerateSettings, components: GenerationComponents, job: Run, watcher: Watcher
) -> Statistics:
    on_outcome = watcher.pipeline(pipeline.name, components.start_states.count(settings.n))
    directory, executor = job.directory.absolute() / pipeline.name, components.executor
    return await run(pipeline, directory, settings.n, settings.concurrency, settings.attempts, executor, on_outcome)


@asynccontextmanager
async def closing(llm: LLM) -> AsyncIterator[LLM]:
    try:
        yield llm
    finally:
        await llm.close()


def build_pipeline(
    name: str,
    settings: GenerateSettings,
    components: GenerationComponents,
    llm: LLM,
    toolsets: Sequence[Toolset],
    provenance: Provenance,
) -> Pipeline:
    """The pipeline `name` over those toolsets that its environment can execute; seed and prompts are added to `provenance`."""
    environments = components.environments[name]
    fitting = [toolset for toolset in toolsets if environments.engine in (None, toolset.engine)]
    return Pipeline(
        name=name,
        domains=domains(fitting, settings.rows_per_table, settings.seed),
        environments=environments,
        llm=llm,
        stages=tuple(stage for stage in components.stages if isinstance(stage, DialogueStage)),
        settings=settings.dialogues(name),
        quality=settings.quality,
        costs=settings.costs,
        seed=settings.seed,
        provenance=provenance | Provenance(seed=settings.seed, prompts=prompt_ids()),
        start_states=components.start_states,
    )


def _refuse_engines(components: GenerationComponents) -> None:
    """Before anything is paid for: a pipeline whose environment can run no toolset there will be is a mistake."""
    if not components.toolset_sources and (
        name := next((n for n, w in components.environments.items() if w.engine is not None), None)
    ):
        raise UserError(
            f"the pipeline {name} executes tools, but nothing says how those of start.file={components.start_states.settings.file} "
            "are executed: give toolsets=…, or start.inject=true for a seed domain's tools beside them, or choose another "
            "pipeline (pipeline=user_oriented simulates any tools)"
        )
    engines = {"sql" if origin.toolset.database else origin.toolset.engine for origin in components.toolset_sources}
    for name, environments in components.environments.items():
        if environments.engine is not None and engines and environments.engine not in engines:
            kinds = ", ".join(sorted(str(engine) for engine in engines))
            raise UserError(
                f"the pipeline {name} executes tools of engine {environments.engine}, but the seeds give tools of engine {kinds}; "
                "choose another pipeline (pipeline=user_oriented simulates any tools) or other seeds"
            )
