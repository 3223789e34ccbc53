"""Writes the tasks of the held-out benchmark once per evaluation: every model gets the same ones in every trial.

A condition differs from the base in one axis: the number of tasks in a dialogue, their difficulty, the kind of request,
or the fault of the tools. Under a fault only those tasks are used that it affects and that can be solved all the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.dialogue import Dialogue, Task
from core.journal import Journal, read_jsonl
from core.messages import Frozen
from core.settings import UserError
from evaluation.heldout.databases import DatabaseKind
from evaluation.heldout.settings import NO_FAULT, Condition
from evaluation.heldout.solvable import solvable
from evaluation.metrics.scores import DATABASE, DATABASES, VARIED
from generation.environments.base import DomainEnvironment, EnvironmentFactory
from generation.environments.clock import drawn_time
from generation.environments.faulty import FaultyEnvironmentFactory, ToolFaults
from generation.llm.base import LLM, LLMError, UnusableAnswerError
from generation.llm.meter import Meter
from generation.pipeline import DomainTools
from generation.tasks.settings import TaskSettings
from generation.tasks.writer import TaskWriter

MAX_DRAFTS = 30
"""Drafts tried per dialogue of a condition; if too few of them are usable, it has fewer dialogues."""

log = logging.getLogger(__name__)


class HeldoutDialogue(Frozen):
    """One dialogue to run: a draft with its tasks. `axes` are those of the trial records."""

    category: str
    databases: DatabaseKind
    fault: str
    axes: dict[str, str]
    draft: Dialogue

    @property
    def key(self) -> str:
        return f"{self.category}/{self.draft.dialogue_id}"


class DraftResult(Frozen):
    """The result of one draft; `dialogue` is None for a rejected one. Rejected drafts are stored, too: asked again, the
    task writer may answer differently, and then not all models would get the same tasks."""

    key: str
    dialogue: HeldoutDialogue | None = None


@dataclass(frozen=True)
class ConditionCell:
    """One condition on one kind of databases; `varied` is the axis in which it differs from the base, or ""."""

    databases: DatabaseKind
    varied: str
    condition: Condition
    domains: tuple[DomainTools, ...]

    @property
    def category(self) -> str:
        return (
            f"{self.databases},{self.varied}={getattr(self.condition, self.varied)}" if self.varied else self.databases
        )

    def domain_tools(self, number: int) -> DomainTools:
        return self.domains[number % len(self.domains)]

    def dialogue_id(self, number: int) -> str:
        """The id of a dialogue. Two generation runs may have different tools, and so different tasks, for databases of
        the same name: the id of a trained database includes a hash of its tools."""
        toolset = self.domain_tools(number).toolset
        digest = hashlib.sha256(toolset.model_dump_json(include={"tools", "statements"}).encode()).hexdigest()[:6]
        database = toolset.domain if self.databases == "unseen_databases" else f"{toolset.domain}.{digest}"
        return f"{database}-{number:04d}"


class HeldoutTaskWriter:
    """Writes the tasks of condition cells and stores the result of each draft in `path`.

    `faults` maps the name of a fault to the shares of the tools' faults; `concurrency` drafts are written at once.
    """

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
        """Up to `dialogues` dialogues per cell. A kind of requests that cannot be posed anywhere is left out with a
        warning. Raises UserError for any other cell without dialogues, and if the task writer does not answer."""
        written: list[HeldoutDialogue] = []
        with Journal(self.path, lambda line: str(line["key"])) as journal:
            stored = {result.key: result for result in read_jsonl(self.path, DraftResult)}
            for cell in cells:
                of_cell = await self._write_cell(cell, dialogues, stored, journal)
                if not of_cell and cell.varied == "kind":
                    log.warning("held-out: %s is left out: no such request could be posed", cell.category)
                elif not of_cell:
                    raise UserError(
                        f"held-out: no task could be written for {cell.category} in {MAX_DRAFTS} drafts; leave that "
                        "value out of benchmarks.heldout.axes, or give another simulator or other databases"
                    )
                written += of_cell
        return written

    async def _write_cell(
        self, cell: ConditionCell, dialogues: int, stored: Mapping[str, DraftResult], journal: Journal
    ) -> list[HeldoutDialogue]:
        """Drafts in waves. Their size depends on how many dialogues are missing and not on the concurrency, so that the
        result does not either. Stored drafts, including rejected ones, are reused: every model and every resumed run
        gets the same tasks."""
        written: list[HeldoutDialogue] = []
        drafted = 0
        while cell.domains and len(written) < dialogues and drafted < (len(written) + 1) * MAX_DRAFTS:
            wave = range(drafted, drafted + min(dialogues - len(written), MAX_DRAFTS))
            drafted = wave.stop
            for result in await self._draft_wave(cell, wave, stored):
                if result.dialogue:
                    written.append(result.dialogue)
                if result.key not in journal.keys:
                    journal.append(result, result.key)
        return written

    async def _draft_wave(
        self, cell: ConditionCell, wave: Iterable[int], stored: Mapping[str, DraftResult]
    ) -> list[DraftResult]:
        try:
            async with asyncio.TaskGroup() as group:
                drafts = [group.create_task(self._draft_once(cell, number, stored)) for number in wave]
        except ExceptionGroup as errors:
            first = errors.exceptions[0]
            if isinstance(first, LLMError):
                raise UserError(f"held-out: the task writer does not answer: {first}") from None
            raise first from None
        return [draft.result() for draft in drafts]

    async def _draft_once(self, cell: ConditionCell, number: int, stored: Mapping[str, DraftResult]) -> DraftResult:
        key = f"{cell.category}/{cell.dialogue_id(number)}"
        return stored.get(key) or DraftResult(key=key, dialogue=await self._draft(cell, number))

    async def _draft(self, cell: ConditionCell, number: int) -> HeldoutDialogue | None:
        """Dialogue `number` of a cell; None if its tasks cannot be written, or cannot be solved under the cell's
        fault."""
        dialogue_id, domain_tools = cell.dialogue_id(number), cell.domain_tools(number)
        condition = cell.condition
        async with self.slots:
            tasks = await self._write_tasks(domain_tools, cell, dialogue_id)
            if not tasks:
                return None
            if condition.fault != NO_FAULT and not await self._suits_fault(
                tasks, domain_tools, condition.fault, dialogue_id
            ):
                return None
        draft = Dialogue(
            dialogue_id=dialogue_id,
            pipeline="heldout",
            domain=domain_tools.domain.name,
            tools=domain_tools.toolset.tools,
            tasks=tasks,
            policy=domain_tools.domain.policy,
        )
        axes = {axis: str(value) for axis, value in condition.model_dump().items()}
        axes |= {VARIED: cell.varied, DATABASES: cell.databases, DATABASE: domain_tools.domain.name}
        return HeldoutDialogue(
            category=cell.category, databases=cell.databases, fault=condition.fault, axes=axes, draft=draft
        )

    async def _write_tasks(self, domain_tools: DomainTools, cell: ConditionCell, dialogue_id: str) -> tuple[Task, ...]:
        """As many tasks as the condition requires, each proved in the state that its predecessors leave; empty if one
        of them cannot be written."""
        meter = Meter(self.simulator)
        settings = self.tasks
        if cell.condition.difficulty != "mixed":
            settings = settings.model_copy(update={"difficulties": {cell.condition.difficulty: 1.0}})
        kind = cell.condition.kind
        settings = settings.model_copy(update={"kinds": {kind: 1.0}})
        seed = f"{self.seed}/{cell.category}/{dialogue_id}"
        now = drawn_time(dialogue_id, domain_tools.toolset.now)
        writer = TaskWriter(meter, domain_tools.domain, settings, dialogue_id, seed, now)
        environment = self.environments.for_domain(domain_tools.toolset, meter, dialogue_id).open()
        tasks: list[Task] = []
        try:
            while len(tasks) < cell.condition.tasks_per_dialogue:
                task = await writer.write(environment, tasks)
                if task.kind != kind or (kind == "plain" and task.difficulty not in settings.difficulties):
                    return ()
                tasks.append(task)
                for call in task.gold_calls:
                    await environment.call(call.tool, call.arguments)
        except UnusableAnswerError:
            return ()
        finally:
            environment.close()
        return tuple(tasks)

    async def _suits_fault(
        self, tasks: Sequence[Task], domain_tools: DomainTools, fault: str, dialogue_id: str
    ) -> bool:
        """Whether the fault affects the gold calls and the tasks can be solved nevertheless."""
        meter = Meter(self.simulator)
        environment = self.domain_environment(domain_tools, fault, dialogue_id, meter).open()
        try:
            return await solvable(tasks, environment) and any("injected_" in flaw for flaw in meter.flaws)
        finally:
            environment.close()

    def domain_environment(
        self, domain_tools: DomainTools, fault: str, dialogue_id: str, meter: Meter
    ) -> DomainEnvironment:
        """The environment of one dialogue. Its faults belong to the task: they are the same for all models and
        trials."""
        if fault == NO_FAULT:
            return self.environments.for_domain(domain_tools.toolset, meter, dialogue_id)
        seed = int.from_bytes(hashlib.sha256(f"{self.seed}/{dialogue_id}".encode()).digest()[:4])
        shares = self.faults[fault].model_dump()
        faulty = FaultyEnvironmentFactory(self.environments, shares, seed, fixed=True)
        return faulty.for_domain(domain_tools.toolset, meter, dialogue_id)
