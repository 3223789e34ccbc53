"""Our own benchmark: live dialogues on databases not trained on, and unseen tasks on those trained on.

A task writer and a user simulator (the scripted ones unless told otherwise) meet the model under evaluation on real
databases. Success is decided by execution alone: the state after each task is the one its gold calls make, every value was
told, and the dialogue came to its end with all its tasks. No judge. What is varied, and how tasks are made, stands in
evaluation/heldout/tasks.py.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from core.dialogue import Check, Dialogue
from core.journal import write_jsonl
from core.messages import ContractError, ToolCall, ToolSpec
from core.settings import Settings, UserError, closest, typed
from evaluation.benchmark import Benchmark, EvaluationContext
from evaluation.heldout.databases import Databases, Domains, DomainSettings
from evaluation.heldout.tasks import (
    NO_FAULT,
    AxesSettings,
    Condition,
    ConditionCell,
    HeldoutDialogue,
    HeldoutTaskWriter,
    conditions,
)
from evaluation.metrics.pass_at_k import pass_1_by_category
from evaluation.transcripts import write_transcript
from evaluation.trials import Progress, TrialRecord, open_journal, read_trials, settled
from generation.dialogue.rollout import Rollout
from generation.dialogue.setup import DialogueSettings, RoleModels, RolloutContext, RolloutSettings
from generation.dialogue.user import UserSettings
from generation.environments.faulty import ToolFaults
from generation.environments.sql import SqlEnvironmentFactory
from generation.llm.base import LLM, LLMError
from generation.llm.meter import Meter
from generation.llm.openai import TRANSPORT_KEYS, OpenAILLM
from generation.pipeline import DomainTools
from generation.runner import run_workers
from generation.seeds.base import Seeds
from generation.tasks.writer import TaskSettings
from generation.validation.validate import outcomes, replay

HARNESS = "heldout 2"
SHARED = "heldout"
"""Where the tasks of a run stand, for all its models."""


class HeldoutSettings(Settings):
    """`dialogues` are held of each condition on each kind of databases: of `base`, and with subset "full" of each value of
    `axes`. `faults` are the shares of what is wrong with tools, by the names that `axes.fault` uses; `tasks.count` is the
    condition's. `seed` must differ from the generation's, so that tasks are unseen. `row_cap` and `time_limit_s` bound a tool
    call; `timeout_s` is per request to the model, `outage_s` how long it may be away before the run stops."""

    subset: Literal["smoke", "full"]
    dialogues: int = Field(ge=1)
    categories: tuple[Databases, ...] = ("unseen_databases", "trained_databases")
    base: Condition
    axes: AxesSettings
    faults: dict[str, ToolFaults]
    seed: int
    max_tools: int = Field(ge=3)
    rows_per_table: int = Field(ge=1)
    row_cap: int
    time_limit_s: float
    timeout_s: float = Field(gt=0)
    outage_s: float = Field(ge=0)
    tasks: TaskSettings
    rollout: RolloutSettings
    user: UserSettings

    def conditions(self) -> list[tuple[str, Condition]]:
        """(varied axis, condition). Raises UserError for a fault that has no shares."""
        found = list(conditions(self.base, self.axes if self.subset == "full" else AxesSettings()))
        for _, condition in found:
            if condition.fault not in (NO_FAULT, *self.faults):
                raise UserError(
                    f"benchmarks.heldout: unknown fault {condition.fault!r}; "
                    f"{closest(condition.fault, [NO_FAULT, *self.faults])}"
                )
        return found


@dataclass(frozen=True)
class Trial:
    """One dialogue to hold with one sampling seed."""

    posed: HeldoutDialogue
    domain_tools: DomainTools
    number: int

    @property
    def key(self) -> str:
        return f"heldout/{self.posed.key}/{self.number}"


class Heldout(Benchmark):
    """The benchmark of conf/benchmark/heldout.yaml. `simulator` plays the user and writes the tasks, `databases` are the unseen
    ones."""

    NEUTRAL = ("timeout_s", "outage_s", *(f"simulator.{key}" for key in TRANSPORT_KEYS))

    def __init__(self, simulator: LLM, databases: Seeds, **settings: Any) -> None:
        self.simulator = simulator
        self.databases = databases
        self.settings = typed(settings, HeldoutSettings, "benchmarks.heldout")
        self.settings.conditions()

    def run(self, context: EvaluationContext, directory: Path, progress: Progress | None = None) -> list[TrialRecord]:
        """Raises UserError where tasks on trained databases are asked for and the generation run is not known, where an unseen
        database was trained on, and where no task can be written for a condition."""
        return asyncio.run(HeldoutRun(self, context, directory).run(progress))

    def metrics(self, records: Sequence[TrialRecord]) -> dict[str, float | None]:
        return pass_1_by_category(records)


class HeldoutRun:
    """One evaluation of one endpoint. The tools of `context.generation` are met again on its databases, its goals are not."""

    def __init__(self, benchmark: Heldout, context: EvaluationContext, directory: Path) -> None:
        self.settings = benchmark.settings
        self.simulator = benchmark.simulator
        self.trials = context.trials
        self.endpoint = context.endpoint
        self.directory = directory
        shared = (context.shared or directory) / SHARED
        settings = self.settings
        reading = DomainSettings(
            max_tools=settings.max_tools, rows_per_table=settings.rows_per_table, seed=settings.seed
        )
        self.domains = Domains(benchmark.databases, self.simulator, context, reading, shared / "toolsets.jsonl")
        self.environments = SqlEnvironmentFactory(row_cap=settings.row_cap, time_limit_s=settings.time_limit_s)
        self.writer = HeldoutTaskWriter(
            self.simulator,
            self.environments,
            settings.tasks,
            settings.faults,
            settings.seed,
            self.endpoint.concurrency,
            shared / "tasks.jsonl",
        )
        self.agents: dict[int, OpenAILLM] = {}

    async def run(self, progress: Progress | None = None) -> list[TrialRecord]:
        """Hold what the journal lacks."""
        path = self.directory / "trials.jsonl"
        try:
            trials = await self._trials()
            known = settled(path)
            waiting = [trial for trial in trials if trial.key not in known]
            done = len(trials) - len(waiting)
            with open_journal(path) as journal:

                async def work(queue: Iterator[Trial]) -> None:
                    nonlocal done
                    for trial in queue:
                        record = await self._hold(trial)
                        journal.append(record, record.key)
                        done += 1
                        if progress:
                            progress("held-out", done, len(trials))

                queue = iter(waiting)
                await run_workers(self.endpoint.concurrency, lambda: work(queue))
        finally:
            self.environments.close()
            for model in (self.simulator, *self.agents.values()):
                await model.close()
        return read_trials(path)

    def _agent(self, trial: int) -> OpenAILLM:
        """The evaluated model with this trial's sampling seed."""
        if trial not in self.agents:
            self.agents[trial] = OpenAILLM(
                [self.endpoint.base_url],
                model=self.endpoint.model,
                sampling=self.endpoint.sampling.model_dump(),
                api_key_env=self.endpoint.api_key_env,
                timeout_s=self.settings.timeout_s,
                outage_s=self.settings.outage_s,
                seed=self.settings.seed + trial,
            )
        return self.agents[trial]

    async def _trials(self) -> list[Trial]:
        found = await self.domains.find(self.settings.categories)
        cells = [
            ConditionCell(databases, varied, condition, domains)
            for databases, domains in found.items()
            for varied, condition in self.settings.conditions()
        ]
        by_name = {(databases, each.domain.name): each for databases, domains in found.items() for each in domains}
        return [
            Trial(posed, by_name[posed.databases, posed.draft.domain], number)
            for posed in await self.writer.write(cells, self.settings.dialogues)
            for number in range(self.trials)
        ]

    async def _hold(self, trial: Trial) -> TrialRecord:
        """One dialogue and its record. What keeps the model from being asked is infrastructure, never a score."""
        posed = trial.posed
        meter = Meter(self._agent(trial.number))
        context = self._scene(trial, meter)
        base: dict[str, Any] = {
            "benchmark": "heldout",
            "harness": HARNESS,
            "category": posed.category,
            "task_id": posed.draft.dialogue_id,
            "trial": trial.number,
            "model": self.endpoint.model,
            "sampling": self.endpoint.sampling,
            "simulator": self.simulator.name,
            "axes": posed.axes,
        }
        try:
            dialogue = await Rollout(posed.draft, context).run()
        except LLMError as error:
            return TrialRecord(**base, infrastructure_error=str(error), stop_reason="infrastructure")
        checks = await _checks(dialogue, posed, context)
        failed_partner = _partners_failure(dialogue.stop)
        valid, calls = count_calls(dialogue)
        record = TrialRecord(
            **base,
            success=None if failed_partner else all(check.passed for check in checks),
            infrastructure_error=failed_partner,
            stop_reason=_stop_reason(dialogue, posed),
            truncations=meter.flaws["agent/truncated"],
            calls=calls,
            valid_calls=valid,
            prompt_tokens=meter.usage.prompt_tokens,
            completion_tokens=meter.usage.completion_tokens,
            seconds=round(meter.seconds.get("agent", 0.0), 3),
        )
        name = f"{record.key.replace('/', '_')}.jsonl"
        write_jsonl(self.directory / "dialogues" / name, [dialogue])
        messages = [message.model_dump(exclude_none=True) for message in dialogue.messages]
        return write_transcript(self.directory, record, _notes(posed, checks), messages)

    def _scene(self, trial: Trial, agent: Meter) -> RolloutContext:
        settings, simulator = self.settings, Meter(self.simulator)
        posed, name = trial.posed, trial.posed.draft.dialogue_id
        return RolloutContext(
            domain=trial.domain_tools.domain,
            domain_environment=self.writer.domain_environment(trial.domain_tools, posed.fault, name, simulator),
            executable=True,
            models=replace(RoleModels.of(simulator), agent=agent),
            settings=DialogueSettings(
                settings.tasks.model_copy(update={"count": {len(posed.draft.tasks): 1.0}}),
                settings.rollout,
                settings.user,
            ),
            seed=f"{settings.seed}/{posed.key}",
        )


async def _checks(dialogue: Dialogue, posed: HeldoutDialogue, context: RolloutContext) -> list[Check]:
    """What decides the trial; the first that failed says why."""
    played, posed_tasks = len(dialogue.task_starts), len(posed.draft.tasks)
    if dialogue.stop != "complete":
        return [Check(name="finished", passed=False, detail=dialogue.stop)]
    detail = f"after {played} of {posed_tasks} tasks the next one could not be posed any more"
    all_tasks = Check(name="all tasks", passed=played == posed_tasks, detail=detail)
    return [
        all_tasks,
        *await outcomes(dialogue, context.domain_environment, await replay(dialogue, context.domain_environment)),
    ]


def _partners_failure(stop: str) -> str | None:
    """Why the user simulator failed, if it did. That the user gave up waiting is the model's doing."""
    return stop if stop.startswith("user: ") and not stop.startswith("user: not done") else None


def _stop_reason(dialogue: Dialogue, posed: HeldoutDialogue) -> str:
    if _partners_failure(dialogue.stop):
        return "infrastructure"
    played, posed_tasks = len(dialogue.task_starts), len(posed.draft.tasks)
    return dialogue.stop if dialogue.stop != "complete" or played == posed_tasks else f"after {played} tasks"


def _notes(posed: HeldoutDialogue, checks: Sequence[Check]) -> list[str]:
    """What was asked, what solves it, and what was found wrong."""
    lines = [", ".join(f"{axis} {value}" for axis, value in posed.axes.items() if value)]
    for number, task in enumerate(posed.draft.tasks):
        lines.append(f"task {number} ({task.difficulty}): {task.goal}")
        lines += [f"  gold: {call.tool}({json.dumps(call.arguments, ensure_ascii=False)})" for call in task.gold_calls]
        lines += [f"  to be told: {', '.join(task.told_values)}"] if task.told_values else []
    return lines + [f"FAILED {check.name}: {check.detail}" for check in checks if not check.passed]


def count_calls(dialogue: Dialogue) -> tuple[int, int]:
    """(valid, all): a call is valid if its tool is declared and its arguments fit the tool's schema."""
    declared = {tool.name: tool for tool in dialogue.tools}
    calls = [call for message in dialogue.messages if message.role == "assistant" for call in message.tool_calls or ()]
    return sum(_fits(call, declared) for call in calls), len(calls)


def _fits(call: ToolCall, declared: dict[str, ToolSpec]) -> bool:
    try:
        return call.name in declared and declared[call.name].argument_error(call.parsed()) is None
    except ContractError:
        return False
