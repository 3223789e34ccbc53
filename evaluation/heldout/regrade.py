"""Grades recorded held-out dialogues again: their calls are made again on fresh databases, and all checks repeated."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from core.dialogue import Dialogue
from core.journal import read_jsonl
from evaluation.benchmark import RecordedRun, Regraded
from evaluation.heldout.run import TASKS_FOLDER, dialogue_path
from evaluation.heldout.settings import HeldoutSettings
from evaluation.heldout.tasks import DraftResult, HeldoutDialogue, HeldoutTaskWriter
from evaluation.trials import TrialRecord
from generation.environments.sql import SqlEnvironmentFactory
from generation.llm.base import LLM
from generation.llm.meter import Meter
from generation.pipeline import DomainTools
from generation.run import domains
from generation.tools.toolset import Toolset
from generation.validation.outcome import outcome


async def regrade(
    settings: HeldoutSettings, simulator: LLM, records: Sequence[TrialRecord], run: RecordedRun
) -> dict[str, Regraded]:
    """The new verdicts by key. Nothing is requested from `simulator`, whose name alone environments are given."""
    shared = run.shared / TASKS_FOLDER
    drafts = (result.dialogue for result in read_jsonl(shared / "tasks.jsonl", DraftResult))
    posed = {dialogue.key: dialogue for dialogue in drafts if dialogue}
    toolsets = [*read_jsonl(shared / "toolsets.jsonl", Toolset)] if (shared / "toolsets.jsonl").is_file() else []
    for generation in run.generations:
        toolsets += read_jsonl(generation / "toolsets.jsonl", Toolset)
    environments = SqlEnvironmentFactory(row_cap=settings.row_cap, time_limit_s=settings.time_limit_s)
    writer = HeldoutTaskWriter(
        simulator, environments, settings.tasks, settings.faults, settings.seed, 1, run.scratch / "tasks.jsonl"
    )

    @cache
    def domain_tools(number: int) -> DomainTools | None:
        usable = domains(toolsets[number : number + 1], settings.rows_per_table, settings.seed)
        return usable[0] if usable else None

    async def verdict(record: TrialRecord) -> Regraded:
        path = dialogue_path(run.directory, record)
        if not path.is_file():
            return Regraded(None, "its dialogue was not recorded")
        (dialogue,) = read_jsonl(path, Dialogue)
        task = posed[f"{record.category}/{record.task_id}"]
        tools = next((found for n in _with_tools_of(task, toolsets) if (found := domain_tools(n))), None)
        if tools is None:
            return Regraded(None, f"the database {task.draft.domain} is gone: its generation run is unknown")
        environment = writer.domain_environment(tools, task.fault, task.draft.dialogue_id, Meter(simulator))
        results, _ = await outcome(dialogue, len(task.draft.tasks), environment)
        failed = [f"{check.name}: {check.detail}" for check in results if not check.passed]
        return Regraded(not failed, "; ".join(failed))

    try:
        return {record.key: await verdict(record) for record in records}
    finally:
        environments.close()


def _with_tools_of(task: HeldoutDialogue, toolsets: Sequence[Toolset]) -> list[int]:
    """The toolsets of the task's database that have all its tools: two generation runs may have made different ones."""
    names = {tool.name: tool for tool in task.draft.tools}
    return [
        number
        for number, toolset in enumerate(toolsets)
        if toolset.domain == task.draft.domain and names.items() <= {tool.name: tool for tool in toolset.tools}.items()
    ]
