"""Runs the shipped pipelines in-process; models that break one role's answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from core.dialogue import Dialogue, Rubric, Task
from core.journal import read_jsonl
from core.messages import AssistantMessage
from core.provenance import Provenance
from generation.dialogue.personas import UserSettings
from generation.dialogue.scenario import VarietySettings
from generation.dialogue.setup import DialogueSettings, RoleModels, RolloutContext, RolloutSettings, RolloutsSettings
from generation.environments.base import EnvironmentFactory
from generation.environments.simulated.environment import SimulatedEnvironmentFactory
from generation.environments.sql import SqlEnvironmentFactory
from generation.llm.base import LLM, Completion, Request, Role
from generation.llm.meter import Meter
from generation.metrics.diversity import SaturationSettings
from generation.metrics.statistics import CostSettings, Statistics
from generation.metrics.user_quality import QualitySettings
from generation.outcomes import Outcome
from generation.pipeline import DomainTools, Pipeline
from generation.prompts import prompt_ids
from generation.prompts.scene import Scene
from generation.runner import AttemptSettings, DeadLetter, Local, Rejection, run_pipeline
from generation.scripted.llm import ScriptedLLM
from generation.stages import DialogueStage, Rollouts, Tasks, Validation
from generation.start_states.start_states import StartSettings, StartState, StartStates
from generation.tasks.settings import TaskSettings
from tests.helpers.paths import CONF

ROWS_PER_TABLE = 40

TASK = Task(
    task_id="d/t0",
    goal="The user wants to find a hall. They also want to book it.",
    subgoals=("find a hall", "book it"),
    difficulty="medium",
    rubric=Rubric(criteria=()),
)
"""An arbitrary task."""


def task_of(goal: str, subgoals: tuple[str, ...], **more: Any) -> Task:
    """A task with this goal and these subgoals."""
    fields = {"task_id": "d/t0", "difficulty": "medium", "rubric": Rubric(criteria=())}
    return Task.model_validate(fields | {"goal": goal, "subgoals": subgoals} | more)


SCENE = Scene("hall rental", "Rents out halls.", "Tuesday 2025-03-04 10:15")


def rollout_settings(name: str, **changes: Any) -> RolloutSettings:
    """The rollout settings of conf/pipeline/<name>.yaml, with changes."""
    return RolloutSettings.model_validate(_shipped(name, "rollout") | changes)


def task_settings(name: str, **changes: Any) -> TaskSettings:
    requests = yaml.safe_load((CONF / "requests" / "plain.yaml").read_text())
    shipped = {key: value for key, value in _shipped(name, "tasks").items() if not str(value).startswith("${requests")}
    return TaskSettings.model_validate(requests | shipped | changes)


def _shipped(name: str, part: str) -> dict[str, Any]:
    """The part of conf/pipeline/<name>.yaml, on top of what all pipelines share."""
    shared, own = (yaml.safe_load((CONF / "pipeline" / f"{file}.yaml").read_text()) for file in ("base/common", name))
    return shared[part] | own.get(part, {})


def user_settings(preset: str = "incremental", **changes: Any) -> UserSettings:
    """The users of conf/user/<preset>.yaml, with changes."""
    return UserSettings.model_validate(_composed_user(preset) | changes)


def _composed_user(preset: str) -> dict[str, Any]:
    own = yaml.safe_load((CONF / "user" / f"{preset}.yaml").read_text())
    bases = [name for name in own.pop("defaults", ()) if name != "_self_"]
    return {key: value for base in bases for key, value in _composed_user(base).items()} | own


def quality_settings() -> QualitySettings:
    return QualitySettings.model_validate(yaml.safe_load((CONF / "generate.yaml").read_text())["quality"])


def environments_of(name: str) -> EnvironmentFactory:
    return (
        SqlEnvironmentFactory()
        if name in ("user_oriented_exec", "user_oriented_dual")
        else SimulatedEnvironmentFactory()
    )


def start_states(starts: tuple[StartState, ...] = (), **changes: Any) -> StartStates:
    settings = {"file": None, "at": "end", "branches": 1, "inject": False} | changes
    return StartStates(starts, StartSettings.model_validate(settings))


STAGES: tuple[DialogueStage, ...] = (Tasks(), Rollouts(), Validation(votes=1, attempts=1))


def pipeline_of(
    name: str,
    domains: tuple[DomainTools, ...],
    llm: LLM,
    seed: int = 0,
    user: UserSettings | None = None,
    stages: tuple[DialogueStage, ...] = STAGES,
    starts: StartStates | None = None,
    rollouts: RolloutsSettings | None = None,
    variety: VarietySettings | None = None,
    **changes: Any,
) -> Pipeline:
    """A shipped pipeline; `changes` apply to its task and rollout settings."""
    task_changes = {key: changes.pop(key) for key in tuple(changes) if key in TaskSettings.model_fields}
    return Pipeline(
        name=name,
        domains=domains,
        environments=environments_of(name),
        llm=llm,
        stages=stages,
        settings=DialogueSettings(
            task_settings(name, **task_changes),
            rollout_settings(name, **changes),
            user or user_settings(),
            rollouts or RolloutsSettings(),
            variety or VarietySettings(),
        ),
        quality=quality_settings(),
        saturation=SaturationSettings(growth=0.2, dialogues=200),
        costs=CostSettings(gpus=0, per_gpu_hour=2.5),
        seed=seed,
        provenance=Provenance(config="fingerprint", commit="commit", seed=seed, prompts=prompt_ids()),
        start_states=starts or start_states(),
    )


def context_of(
    pipeline: Pipeline, domain_tools: DomainTools, dialogue_id: str = "d", seed: str = "0/d"
) -> RolloutContext:
    """A rollout context of a pipeline, with a new meter."""
    meter = Meter(pipeline.llm)
    domain_environment = pipeline.environments.for_domain(domain_tools.toolset, meter, dialogue_id)
    executable = pipeline.environments.executable
    models = RoleModels.of(meter)
    return RolloutContext(
        domain_tools.domain,
        domain_environment,
        executable,
        models,
        pipeline.settings,
        seed,
        SCENE.now,
    )


@dataclass
class Recorder:
    """Forwards requests and keeps them with their answers, in order."""

    llm: LLM
    log: list[tuple[Request, Completion]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.llm.name

    async def complete(self, request: Request) -> Completion:
        completion = await self.llm.complete(request)
        self.log.append((request, completion))
        return completion

    async def close(self) -> None:
        await self.llm.close()


@dataclass
class SpoiledRole:
    """The scripted model, except that `spoil` changes the answers of `role`."""

    role: Role
    spoil: Callable[[Completion], Completion]
    llm: LLM = field(default_factory=ScriptedLLM)
    name: str = "spoiler"

    async def complete(self, request: Request) -> Completion:
        completion = await self.llm.complete(request)
        return self.spoil(completion) if request.role == self.role else completion

    async def close(self) -> None: ...


def fixed_answer(content: str) -> Callable[[Completion], Completion]:
    """A `spoil` that replaces every answer by this text."""
    return lambda completion: replace(completion, message=AssistantMessage(content=content))


@dataclass
class ListedAnswers:
    """Answers with the next text, whatever the request, and keeps the requests."""

    texts: list[str]
    name: str = "listed"
    requests: list[Request] = field(default_factory=list)

    async def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        return Completion(AssistantMessage(content=self.texts[len(self.requests) - 1]), model=self.name)

    async def close(self) -> None: ...


@dataclass(frozen=True)
class FinishedRun:
    """A finished pipeline: its files read back, its requests."""

    pipeline: Pipeline
    directory: Path
    statistics: Statistics
    log: list[tuple[Request, Completion]]

    @property
    def accepted(self) -> list[Dialogue]:
        return list(read_jsonl(self.directory / "dialogues.jsonl", Dialogue))

    @property
    def rejected(self) -> list[Rejection]:
        return list(read_jsonl(self.directory / "rejected.jsonl", Rejection))

    @property
    def dead(self) -> list[DeadLetter]:
        return list(read_jsonl(self.directory / "dead_letters.jsonl", DeadLetter))


def ignore(outcome: Outcome) -> None:
    """A watcher that does nothing."""


ATTEMPTS = AttemptSettings(session=1, total=9, unanswered_in_a_row=1000)


async def run_local(
    pipeline: Pipeline,
    directory: Path,
    n: int,
    concurrency: int,
    on_outcome: Callable[[Outcome], None] = ignore,
    attempts: AttemptSettings = ATTEMPTS,
) -> Statistics:
    return await run_pipeline(pipeline, directory, n, concurrency, attempts, Local(), on_outcome)


def run_to_end(
    name: str, domains: tuple[DomainTools, ...], directory: Path, n: int, llm: LLM | None = None, **more: Any
) -> FinishedRun:
    """Run a shipped pipeline to its end; `more` goes to `pipeline_of`, except `concurrency`."""
    concurrency = more.pop("concurrency", 8)
    recorder = Recorder(llm or ScriptedLLM(seed=more.get("seed", 0)))
    pipeline = pipeline_of(name, domains, recorder, **more)
    try:
        statistics = asyncio.run(run_local(pipeline, directory, n, concurrency))
    finally:
        pipeline.environments.close()
    return FinishedRun(pipeline, directory, statistics, recorder.log)


def files(directory: Path) -> dict[str, bytes]:
    """The final files that must not depend on concurrency and interruptions."""
    return {name: (directory / name).read_bytes() for name in ("dialogues.jsonl", "rejected.jsonl")}
