"""The tasks of the held-out benchmark: written once a run, so that every model meets the same ones in every trial.

Conditions differ from a base in one axis at a time: how many tasks a dialogue holds, how difficult they are, what is wrong with
the tools. Under faults only tasks are posed that a fault strikes and that can be solved all the same.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from core.dialogue import Dialogue, PlannedCall, Task, placeholder
from core.journal import Journal, read_jsonl
from core.messages import Frozen
from core.settings import Settings, UserError
from evaluation.heldout.databases import Databases
from evaluation.metrics.scores import DATABASE, DATABASES, VARIED
from generation.environments.base import DomainEnvironment, Environment, EnvironmentFactory
from generation.environments.distortion import other_name
from generation.environments.faulty import FaultyEnvironmentFactory, ToolFaults
from generation.llm.base import LLM, LLMError, UnusableAnswerError
from generation.llm.meter import Meter
from generation.pipeline import DomainTools
from generation.tasks.mentions import mentions_value
from generation.tasks.writer import TaskSettings, TaskWriter

Difficulties = Literal["mixed", "easy", "medium", "hard"]
NO_FAULT = "none"

_WAVES = 30
"""So many times as many drafts as dialogues are wanted are tried at most."""
_CALLS = 3
"""A call that fails is mended and made again, as an agent could."""


class Condition(Settings):
    """What a dialogue is like. `difficulty` mixed draws from the weights of the task settings; `fault` names one of `faults`."""

    tasks_per_dialogue: int = Field(ge=1, le=20)
    difficulty: Difficulties
    fault: str


class AxesSettings(Settings):
    """The values of each axis, tried with the other axes as in `base`; an empty list leaves an axis alone."""

    tasks_per_dialogue: tuple[int, ...] = ()
    difficulty: tuple[Difficulties, ...] = ()
    fault: tuple[str, ...] = ()

    @field_validator("tasks_per_dialogue")
    @classmethod
    def _can_be_held(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if wrong := [value for value in values if not 1 <= value <= 20]:
            raise ValueError(f"a dialogue holds 1 to 20 tasks, not {wrong[0]}")
        return values


def conditions(base: Condition, axes: AxesSettings) -> Iterator[tuple[str, Condition]]:
    """(varied axis, condition): the base, whose varied axis is "", then each other value of each axis."""
    yield "", base
    for axis in AxesSettings.model_fields:
        for value in dict.fromkeys(getattr(axes, axis)):
            if value != getattr(base, axis):
                yield axis, base.model_copy(update={axis: value})


class HeldoutDialogue(Frozen):
    """One dialogue to hold: a draft with its tasks. `axes` are as in the trial's record."""

    category: str
    databases: Databases
    fault: str
    axes: dict[str, str]
    draft: Dialogue

    @property
    def key(self) -> str:
        return f"{self.category}/{self.draft.dialogue_id}"


class DraftResult(Frozen):
    """What came of one draft: what is posed, or None where it was given up. Who writes the tasks may answer otherwise when asked
    again, so that a draft is made once."""

    key: str
    posed: HeldoutDialogue | None = None


@dataclass(frozen=True)
class ConditionCell:
    """One condition on one kind of databases."""

    databases: Databases
    varied: str
    condition: Condition
    domains: tuple[DomainTools, ...]

    @property
    def category(self) -> str:
        value = getattr(self.condition, self.varied) if self.varied else ""
        return f"{self.databases},{self.varied}={value}" if self.varied else self.databases

    def domain_tools(self, number: int) -> DomainTools:
        return self.domains[number % len(self.domains)]

    def name(self, number: int) -> str:
        """A task's name. Two generations may have other tools for a database of the same name, and so other tasks."""
        toolset = self.domain_tools(number).toolset
        digest = hashlib.sha256(toolset.model_dump_json(include={"tools", "statements"}).encode()).hexdigest()[:6]
        where = toolset.domain if self.databases == "unseen_databases" else f"{toolset.domain}.{digest}"
        return f"{where}-{number:04d}"


class HeldoutTaskWriter:
    """Writes the tasks of cells and keeps what came of each draft in `path`. `faults` are the shares of each kind of fault."""

    def __init__(
        self,
        simulator: LLM,
        environments: EnvironmentFactory,
        tasks: TaskSettings,
        faults: Mapping[str, ToolFaults],
        seed: int,
        concurrency: int,
        path: Path,
    ) -> None:
        self.simulator = simulator
        self.environments = environments
        self.tasks = tasks
        self.faults = faults
        self.seed = seed
        self.slots = asyncio.Semaphore(concurrency)
        self.path = path

    async def write(self, cells: Iterable[ConditionCell], dialogues: int) -> list[HeldoutDialogue]:
        """Up to `dialogues` of each cell. Raises UserError for a cell of which none can be written, and where the partner does
        not answer."""
        found: list[HeldoutDialogue] = []
        with Journal(self.path, lambda line: str(line["key"])) as journal:
            kept = {drafted.key: drafted for drafted in read_jsonl(self.path, DraftResult)}
            for cell in cells:
                cell_found = await self._write(cell, dialogues, kept, journal)
                if not cell_found:
                    raise UserError(
                        f"held-out: no task could be written for {cell.category} in {dialogues * _WAVES} attempts; "
                        "leave that value out of benchmarks.heldout.axes, or give another partner or other databases"
                    )
                found += cell_found
        return found

    async def _write(
        self, cell: ConditionCell, dialogues: int, kept: Mapping[str, DraftResult], journal: Journal
    ) -> list[HeldoutDialogue]:
        """Drafts in waves, each of as many as are still missing: the same ones whatever the concurrency. Those that are kept, given
        up ones too, are not made again: every model and every resumed run gets the same tasks."""
        found: list[HeldoutDialogue] = []
        begun = 0
        while len(found) < dialogues and begun < dialogues * _WAVES:
            numbers = range(begun, begun + dialogues - len(found))
            begun = numbers.stop
            try:
                async with asyncio.TaskGroup() as group:
                    wave = [group.create_task(self._drafted(cell, number, kept)) for number in numbers]
            except ExceptionGroup as errors:
                first = errors.exceptions[0]
                if isinstance(first, LLMError):
                    raise UserError(f"held-out: who writes the tasks does not answer: {first}") from None
                raise first from None
            for drafted in (task.result() for task in wave):
                if drafted.posed:
                    found.append(drafted.posed)
                if drafted.key not in journal.keys:
                    journal.append(drafted, drafted.key)
        return found

    async def _drafted(self, cell: ConditionCell, number: int, kept: Mapping[str, DraftResult]) -> DraftResult:
        key = f"{cell.category}/{cell.name(number)}"
        return kept.get(key) or DraftResult(key=key, posed=await self._draft(cell, number))

    async def _draft(self, cell: ConditionCell, number: int) -> HeldoutDialogue | None:
        """Dialogue `number` of a cell; None where its tasks cannot be written, or not solved under the cell's faults."""
        name, domain_tools = cell.name(number), cell.domain_tools(number)
        condition = cell.condition
        async with self.slots:
            tasks = await self._tasks(domain_tools, cell, name)
            if not tasks or (
                condition.fault != NO_FAULT and not await self._fits(tasks, domain_tools, condition, name)
            ):
                return None
        draft = Dialogue(
            dialogue_id=name,
            pipeline="heldout",
            domain=domain_tools.domain.name,
            tools=domain_tools.toolset.tools,
            tasks=tasks,
        )
        axes = {key: str(value) for key, value in condition.model_dump().items()}
        axes |= {VARIED: cell.varied, DATABASES: cell.databases, DATABASE: domain_tools.domain.name}
        return HeldoutDialogue(
            category=cell.category, databases=cell.databases, fault=condition.fault, axes=axes, draft=draft
        )

    async def _tasks(self, domain_tools: DomainTools, cell: ConditionCell, name: str) -> tuple[Task, ...]:
        """As many tasks as the condition wants, each proved in the state that solving those before it leaves; none where one
        cannot be had."""
        meter = Meter(self.simulator)
        settings = self.tasks
        if cell.condition.difficulty != "mixed":
            settings = settings.model_copy(update={"difficulties": {cell.condition.difficulty: 1.0}})
        writer = TaskWriter(meter, domain_tools.domain, settings, name, f"{self.seed}/{cell.category}/{name}")
        environment = self.environments.for_domain(domain_tools.toolset, meter, name).open()
        tasks: list[Task] = []
        try:
            while len(tasks) < cell.condition.tasks_per_dialogue:
                task = await writer.write(environment, tasks)
                if task.difficulty not in settings.difficulties:
                    return ()
                tasks.append(task)
                for call in task.gold_calls:
                    await environment.call(call.tool, call.arguments)
        except UnusableAnswerError:
            return ()
        finally:
            environment.close()
        return tuple(tasks)

    async def _fits(self, tasks: Sequence[Task], domain_tools: DomainTools, condition: Condition, name: str) -> bool:
        """Whether a fault strikes whoever solves the tasks, who can solve them nevertheless."""
        meter = Meter(self.simulator)
        environment = self.domain_environment(domain_tools, condition.fault, name, meter).open()
        try:
            return await recoverable(tasks, environment) and any("injected_" in flaw for flaw in meter.flaws)
        finally:
            environment.close()

    def domain_environment(self, domain_tools: DomainTools, fault: str, name: str, meter: Meter) -> DomainEnvironment:
        """The world of one dialogue, the same for all models and trials: its faults belong to the task."""
        if fault == NO_FAULT:
            return self.environments.for_domain(domain_tools.toolset, meter, name)
        seed = int.from_bytes(hashlib.sha256(f"{self.seed}/{name}".encode()).digest()[:4])
        shares = self.faults[fault].model_dump()
        return FaultyEnvironmentFactory(self.environments, shares, seed, fixed=True).for_domain(
            domain_tools.toolset, meter, name
        )


async def recoverable(tasks: Sequence[Task], environment: Environment) -> bool:
    """Whether the gold calls can be made in `environment`, those that fail a second time or with the argument names that the
    error asks for, and show all that later calls need and the user must be told."""
    for task in tasks:
        seen: list[str] = []
        for planned, gold in zip(task.plan, task.gold_calls, strict=True):
            needed = [gold.arguments[name] for name, value in planned.arguments.items() if placeholder(value)]
            if not all(mentions_value("\n".join(seen), str(value)) for value in needed):
                return False
            shown = await _insist(gold, environment)
            if shown is None:
                return False
            seen.append(shown)
        if not all(mentions_value("\n".join(seen), value) for value in task.told_values):
            return False
    return True


async def _insist(call: PlannedCall, environment: Environment) -> str | None:
    arguments: dict[str, Any] = call.arguments
    for _ in range(_CALLS):
        result = await environment.call(call.tool, arguments)
        if not result.error:
            return result.content
        refused = result.content
        arguments = {
            other_name(name) if f"unknown argument {name!r}" in refused else name: value
            for name, value in arguments.items()
        }
    return None
