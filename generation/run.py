"""A generation run: first the toolsets, then each pipeline in turn, all into one run directory."""

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
from generation.database.schema import read_schema
from generation.database.views import sample_rows
from generation.dialogue.personas import UserSettings
from generation.dialogue.scenario import VarietySettings
from generation.dialogue.setup import DialogueSettings, RolloutSettings, RolloutsSettings
from generation.environments.base import EnvironmentFactory
from generation.llm.base import LLM, Role
from generation.llm.meter import Meter
from generation.metrics.diversity import SaturationSettings
from generation.metrics.statistics import CostSettings, Statistics
from generation.metrics.user_quality import QualitySettings
from generation.outcomes import Outcome
from generation.pipeline import DomainTools, Pipeline
from generation.plan import AssumeSettings
from generation.prompts import prompt_ids
from generation.runner import AttemptSettings, Executor, run_pipeline
from generation.seeds.tau2_data import ENGINE as TAU2
from generation.stages import DialogueStage, Stage, ToolsetStage
from generation.start_states.start_states import StartSettings, StartStates
from generation.tasks.settings import RequestSettings, TaskSettings
from generation.tasks.writer import Domain
from generation.tools.toolset import Toolset, toolsets_for
from generation.toolset_runner import ToolsetSource, run_toolset_stages


class PipelineSettings(Settings):
    """One entry of `pipelines`."""

    environment: dict[str, Any] = Field(description="the EnvironmentFactory (`_target_`) and its arguments")
    domains: dict[str, Any] | None = Field(
        default=None, description="its own source of databases and tools, as `domains`; null: the run's"
    )
    tasks: TaskSettings
    rollout: RolloutSettings
    rollouts: RolloutsSettings
    variety: VarietySettings | None = Field(default=None, description="null: as the run's `variety`")


class GenerateSettings(Settings):
    """conf/generate.yaml."""

    profile: str = Field(description="name of the profile that set the defaults; recorded in the manifest")
    outputs: Path = Field(description="directory of all runs")
    resume: Path | None = Field(
        description="resume this unfinished run, and refuse if any setting that affects the data differs; null: resume "
        "the newest unfinished run with the same settings, or start one"
    )
    report: int | None = Field(
        ge=0, description="most dialogues and trials in the report that is written at the end; null: no report"
    )
    seed: int = Field(description="random seed of the run")
    n: int = Field(ge=1, description="dialogues to start in each pipeline")
    concurrency: int = Field(ge=1, description="dialogues generated at the same time")
    max_tools: int = Field(
        ge=3, description="tools per domain at most; `variety.tools` says which of them a dialogue offers"
    )
    policy_rules: int = Field(ge=0, description="rules of a written policy at most; 0: no policies are written")
    parallel_calls: float = Field(
        ge=0, le=1, description="share of independent look-ups of a turn that are merged into one message"
    )
    rows_per_table: int = Field(ge=1, description="rows per table from which the task writer's views are drawn")
    tasks_per_dialogue: int | None = Field(
        ge=1, le=20, description="tasks in every dialogue; null: drawn with each pipeline's weights"
    )
    toolsets: Path | None = Field(description="toolsets.jsonl to start from; null: make tools from the seed domains")
    start: StartSettings = Field(description="existing dialogues to start from")
    attempts: AttemptSettings
    executor: dict[str, Any] = Field(description="the Executor (`_target_`): where dialogues are generated")
    serve: str | None = Field(
        description="model (directory or hub id) to serve with `serving` during the run, for `llm`, or if that asks no "
        "server, for the roles that do"
    )
    serving: EngineSettings = Field(description="engine settings for `serve`")
    stages: dict[str, dict[str, Any]] = Field(
        min_length=1, description="name -> stage (`_target_`), in the order in which they run"
    )
    pipelines: dict[str, PipelineSettings] = Field(
        min_length=1, description="name -> pipeline, run one after the other"
    )
    llm: dict[str, Any] = Field(description="the LLM (`_target_`) in every role that `roles` does not name")
    roles: dict[Role, dict[str, Any]] = Field(description="role -> its own LLM (`_target_`)")
    domains: dict[str, Any] = Field(
        description="the Seeds (`_target_`): source of databases and tools; or several by what executes their tools: "
        "`sql`, `tau2`, or `simulated` for the pipelines that execute none"
    )
    user: UserSettings = Field(description="the simulated users")
    requests: RequestSettings = Field(description="difficulties and kinds of requests, which the pipelines refer to")
    variety: VarietySettings
    quality: QualitySettings = Field(description="thresholds of the user quality gate")
    saturation: SaturationSettings = Field(description="when to warn that goals repeat themselves")
    costs: CostSettings
    tracking: TrackingSettings
    plan: bool = Field(description="instead of generating, print what it would take, from a scripted sample")
    assume: AssumeSettings

    def dialogues(self, pipeline: str) -> DialogueSettings:
        """The settings of one pipeline's dialogues, with `tasks_per_dialogue` applied."""
        chosen = self.pipelines[pipeline]
        tasks = chosen.tasks
        if self.tasks_per_dialogue:
            tasks = tasks.model_copy(update={"count": {self.tasks_per_dialogue: 1.0}})
        return DialogueSettings(
            tasks, chosen.rollout, self.user, chosen.rollouts, variety=chosen.variety or self.variety
        )


class GenerationWatcher(Protocol):
    """Receives the progress of a run."""

    def toolsets(self, n: int) -> tuple[Callable[[str, Meter], None], Callable[[Toolset], None]]:
        """Called before `n` toolsets are made; returns callbacks for each one's meter, before its first request, and
        for each finished toolset."""
        ...

    def pipeline(self, name: str, n: int) -> Callable[[Outcome], None]:
        """Called before a pipeline generates `n` dialogues; returns a callback for each outcome."""
        ...


@dataclass(frozen=True)
class GenerationComponents:
    """The objects that a run's settings name. `llm` creates a new client: a used one is bound to its event loop."""

    llm: Callable[[], LLM]
    toolset_sources: tuple[ToolsetSource, ...]
    stages: tuple[Stage, ...]
    environments: Mapping[str, EnvironmentFactory]
    start_states: StartStates
    executor: Executor


def domains(toolsets: Sequence[Toolset], rows_per_table: int, seed: int) -> tuple[DomainTools, ...]:
    """The domains of the toolsets that have tools, each with its schema and a sample of rows for the task writer."""
    return tuple(_domain_tools(toolset, rows_per_table, seed) for toolset in toolsets if toolset.tools)


def _domain_tools(toolset: Toolset, rows_per_table: int, seed: int) -> DomainTools:
    if toolset.database is None:
        schema, rows = None, toolset.rows
    else:
        schema = read_schema(toolset.database, toolset.domain)
        rows = sample_rows(toolset.database, schema, rows_per_table, seed)
    domain = Domain(toolset.domain, schema, rows, title=toolset.title, description=toolset.description)
    return DomainTools(toolset, domain)


async def generate(
    settings: GenerateSettings, components: GenerationComponents, job: Run, watcher: GenerationWatcher
) -> list[Statistics]:
    """Fill the run's directory, keeping what an interrupted session left there. Raises UserError for unusable seeds and
    OSError if a file cannot be written."""
    stages = [stage for stage in components.stages if isinstance(stage, ToolsetStage)]
    makes_dialogues = any(isinstance(stage, DialogueStage) for stage in components.stages)
    if makes_dialogues:
        _refuse_engines(components)
        _refuse_tau2_without_policy(components)
    on_meter, on_toolset = watcher.toolsets(len(components.toolset_sources))
    async with closing(components.llm()) as llm:
        path = job.directory / "toolsets.jsonl"
        toolsets = await run_toolset_stages(
            components.toolset_sources, stages, llm, path, settings.concurrency, on_toolset, on_meter
        )
    sampling = _sampling(settings.llm) | {role: _sampling(llm) for role, llm in settings.roles.items()}
    provenance = Provenance(config=job.manifest.fingerprint, commit=job.manifest.commit, sampling=sampling)
    statistics = []
    async with closing(components.llm()) as llm:
        for name in settings.pipelines if makes_dialogues else ():
            pipeline = build_pipeline(name, settings, components, llm, toolsets, provenance)
            try:
                statistics.append(await _run(pipeline, settings, components, job, watcher))
            finally:
                pipeline.environments.close()
    return statistics


def _sampling(llm: dict[str, Any]) -> dict[str, Any]:
    """What a model's settings say about sampling, for each of the models that they wrap."""
    wrapped = {name: _sampling(node) for name, node in llm.get("models", {}).items() if node}
    return wrapped | {key: llm[key] for key in ("sampling", "role_sampling", "error_rate") if key in llm}


async def _run(
    pipeline: Pipeline,
    settings: GenerateSettings,
    components: GenerationComponents,
    job: Run,
    watcher: GenerationWatcher,
) -> Statistics:
    on_outcome = watcher.pipeline(pipeline.name, components.start_states.count(settings.n))
    directory, executor = job.directory.absolute() / pipeline.name, components.executor
    return await run_pipeline(
        pipeline, directory, settings.n, settings.concurrency, settings.attempts, executor, on_outcome
    )


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
    """The pipeline `name`, on the toolsets that its environment can execute. Adds seed and prompts to `provenance`."""
    environments = components.environments[name]
    own = toolsets_for(name, toolsets)
    fitting = [toolset for toolset in own if environments.engine in (None, toolset.engine)]
    return Pipeline(
        name=name,
        domains=domains(fitting, settings.rows_per_table, settings.seed),
        environments=environments,
        llm=llm,
        stages=tuple(stage for stage in components.stages if isinstance(stage, DialogueStage)),
        settings=settings.dialogues(name),
        quality=settings.quality,
        saturation=settings.saturation,
        costs=settings.costs,
        seed=settings.seed,
        provenance=provenance | Provenance(seed=settings.seed, prompts=prompt_ids()),
        start_states=components.start_states,
    )


def _refuse_engines(components: GenerationComponents) -> None:
    """Raise UserError, before any cost, if a pipeline's environment can execute none of the toolsets."""
    if not components.toolset_sources and (
        name := next((n for n, factory in components.environments.items() if factory.engine is not None), None)
    ):
        raise UserError(
            f"the pipeline {name} executes tools, but those of start.file={components.start_states.settings.file} "
            "come without an implementation: give toolsets=…, or start.inject=true to add a seed domain's tools, "
            "or choose another pipeline (pipeline=user_oriented simulates any tools)"
        )
    toolsets = [source.toolset for source in components.toolset_sources]
    for name, environments in components.environments.items():
        engines = {"sql" if toolset.database else toolset.engine for toolset in toolsets_for(name, toolsets)}
        if environments.engine is not None and engines and environments.engine not in engines:
            kinds = ", ".join(sorted(str(engine) for engine in engines))
            raise UserError(
                f"the pipeline {name} executes tools of engine {environments.engine}, but the seeds give tools of "
                f"engine {kinds}; choose another pipeline (pipeline=user_oriented simulates any tools) or other seeds"
            )


def _refuse_tau2_without_policy(components: GenerationComponents) -> None:
    """Raise UserError for τ²'s tools without τ²'s policy: such data would teach a model to break the benchmark's
    rules."""
    for source in components.toolset_sources:
        if source.toolset.engine == TAU2 and (source.toolset.policy is None or not source.toolset.policy.text):
            raise UserError(
                f"the toolset of {source.toolset.domain} was given without the benchmark's policy, whose rules data from "
                "its tools must keep; make the toolset anew with domains=tau2"
            )
