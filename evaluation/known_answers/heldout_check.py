"""Checks that the held-out benchmark judges what agents do, not how they word it: five correct agents, each with its
own wording, solve every task, and five wrong ones none."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from evaluation.benchmark import EvaluationContext
from evaluation.endpoint import Endpoint
from evaluation.heldout.benchmark import Heldout
from evaluation.heldout.run import HeldoutRun
from evaluation.known_answers.check import KnownSettings, Row, row
from evaluation.known_answers.heldout_agents import CORRECT, AgentClass
from evaluation.known_answers.heldout_wrong_agents import WRONG
from evaluation.trials import Progress, TrialRecord
from generation.llm.base import LLM, Completion, Request
from generation.llm.contexts import AgentContext


class KnownModel:
    """Implements generation.llm.base.LLM for an agent that knows the tasks: it gets them in the request's context."""

    def __init__(self, name: str, agent: AgentClass) -> None:
        self.name = name
        self.agent = agent

    async def complete(self, request: Request) -> Completion:
        context = request.context
        assert isinstance(context, AgentContext), "only the agent's requests reach the evaluated model"
        message = self.agent(context.task, request.messages[context.task_start :], request.tools).speak()
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
    """A row per benchmark (name of its databases -> benchmark) and agent; all agents get the same tasks. Never
    resumes."""
    rows = []
    for databases, benchmark in benchmarks.items():
        directory = settings.outputs / "known" / "heldout" / databases
        shutil.rmtree(directory, ignore_errors=True)
        for expected, agents in ((lambda _: True, CORRECT), (lambda _: False, WRONG)):
            for name, agent in agents.items():
                records, seconds = run_agent(name, agent, benchmark, directory, settings.concurrency, progress)
                rows.append(row("heldout", databases, name, records, benchmark.settings.dialogues, expected, seconds))
    return rows


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
