"""Checks that the held-out benchmark judges what agents do, not how they word it: five correct agents, each with its
own wording, solve every task of every kind, and six wrong ones fail every task that their mistake concerns."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from core.dialogue import Dialogue, Task
from core.journal import read_jsonl
from evaluation.benchmark import EvaluationContext
from evaluation.endpoint import Endpoint
from evaluation.heldout.benchmark import Heldout
from evaluation.heldout.run import TASKS_FOLDER, HeldoutRun
from evaluation.heldout.tasks import DraftResult
from evaluation.known_answers.check import KnownSettings, Row, row
from evaluation.known_answers.heldout_agents import AgentClass
from evaluation.known_answers.heldout_voices import CORRECT
from evaluation.known_answers.heldout_wrong_agents import WRONG
from evaluation.trials import Progress, TrialRecord
from generation.llm.base import LLM, Completion, Request
from generation.llm.contexts import AgentContext
from generation.tools.toolset import Toolset


class KnownModel:
    """Implements generation.llm.base.LLM for an agent that knows the tasks: it gets them in the request's context."""

    def __init__(self, name: str, agent: AgentClass) -> None:
        self.name = name
        self.agent = agent

    async def complete(self, request: Request) -> Completion:
        context = request.context
        assert isinstance(context, AgentContext), "only the agent's requests reach the evaluated model"
        messages = request.messages[context.task_start :]
        message = self.agent(context.task, messages, request.tools, context.policy).speak()
        return Completion(message, "tool_calls" if message.tool_calls else "stop")

    async def close(self) -> None:
        """Does nothing: no resources to release."""


class LocalRun(HeldoutRun):
    """A run of the held-out benchmark that evaluates a model in this process instead of the endpoint."""

    def __init__(self, model: LLM, benchmark: Heldout, context: EvaluationContext, directory: Path) -> None:
        super().__init__(benchmark.settings, benchmark.simulator, benchmark.databases, context, directory)
        self.model = model

    def agent(self, trial: int) -> LLM:
        return self.model


def check(benchmarks: Mapping[str, Heldout], settings: KnownSettings, progress: Progress | None = None) -> list[Row]:
    """A row per benchmark (name of its databases -> benchmark), category and agent; all agents get the same tasks. A
    row without tasks names the databases on which a category could not be posed. Never resumes."""
    rows: list[Row] = []
    agents = {name: (agent, _solves_all) for name, agent in CORRECT.items()} | WRONG
    for databases, benchmark in benchmarks.items():
        directory = settings.outputs / "known" / "heldout" / databases
        shutil.rmtree(directory, ignore_errors=True)
        for name, (agent, solves) in agents.items():
            records, seconds = run_agent(name, agent, benchmark, directory, settings.concurrency, progress)
            rows += _rows(databases, name, records, seconds, _posed(directory), solves)
        rows += _not_posed(databases, benchmark, directory)
    return sorted(rows, key=lambda row: row.category)


def _solves_all(draft: Dialogue, task: Task) -> bool:
    return True


def run_agent(
    name: str,
    agent: AgentClass,
    benchmark: Heldout,
    directory: Path,
    concurrency: int,
    progress: Progress | None = None,
) -> tuple[list[TrialRecord], float]:
    """One trial of each task into a folder of `directory`, which holds the tasks of all agents. Returns the records and
    the wall-clock time in seconds."""
    endpoint = Endpoint(base_url="http://127.0.0.1:9/v1", model=name, concurrency=concurrency)
    context = EvaluationContext(endpoint, trials=1, shared=directory)
    started = time.monotonic()
    run = LocalRun(KnownModel(name, agent), benchmark, context, directory / name.replace(" ", "_"))
    return asyncio.run(run.run(progress)), time.monotonic() - started


def _posed(directory: Path) -> dict[str, Dialogue]:
    """The drafts of the tasks that were posed: "category/task id" -> draft."""
    results = read_jsonl(directory / TASKS_FOLDER / "tasks.jsonl", DraftResult)
    return {result.dialogue.key: result.dialogue.draft for result in results if result.dialogue}


def _rows(
    databases: str,
    answers: str,
    records: Sequence[TrialRecord],
    seconds: float,
    posed: Mapping[str, Dialogue],
    solves: Callable[[Dialogue, Task], bool],
) -> list[Row]:
    """A row per category; the seconds of the run are shared out among them."""
    rows = []
    for category in dict.fromkeys(record.category for record in records):
        part = [record for record in records if record.category == category]
        drafts = {record.task_id: posed[f"{category}/{record.task_id}"] for record in part}
        right = {name: all(solves(draft, task) for task in draft.tasks) for name, draft in drafts.items()}
        share = seconds * len(part) / len(records)
        rows.append(row("heldout", _shown(databases, category), answers, part, len(drafts), right.__getitem__, share))
    return rows


def _shown(databases: str, category: str) -> str:
    """ "unseen_databases,kind=forbidden" -> "bundled, forbidden"."""
    return f"{databases}, {category.rpartition('=')[2] if '=' in category else 'base'}"


def _not_posed(databases: str, benchmark: Heldout, directory: Path) -> Iterator[Row]:
    """Rows that name the databases without a task of a category, and how many drafts were tried there."""
    names = sorted(toolset.domain for toolset in read_jsonl(directory / TASKS_FOLDER / "toolsets.jsonl", Toolset))
    posed, tried = _posed(directory), Counter[tuple[str, str]]()
    for result in read_jsonl(directory / TASKS_FOLDER / "tasks.jsonl", DraftResult):
        category, _, dialogue_id = result.key.rpartition("/")
        tried[category, dialogue_id.rpartition("-")[0]] += 1
    for axis, condition in benchmark.settings.conditions():
        category = f"unseen_databases,{axis}={getattr(condition, axis)}" if axis else "unseen_databases"
        posed_on = {draft.domain for key, draft in posed.items() if key.startswith(f"{category}/")}
        if missing := [f"{name} ({tried[category, name]} drafts)" for name in names if name not in posed_on]:
            yield Row(
                benchmark="heldout",
                category=_shown(databases, category),
                answers=f"not posed on {', '.join(missing)}",
                tasks=0,
                passed=0,
                expected=0,
                holds=True,
            )
