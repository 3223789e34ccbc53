"""Our own benchmark: live dialogues on databases not trained on, and unseen tasks on those trained on.

A task writer and a user simulator (the scripted ones unless told otherwise) meet the model under evaluation on real
databases. Success is decided by execution alone: the state after each task is the one its gold calls make, every value was
told, and the dialogue came to its end. No judge.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from core.dialogue import Dialogue
from core.messages import ContractError, ToolCall, ToolSpec
from core.records import read_jsonl, write_jsonl
from core.settings import Settings, UserError, typed
from evaluation.benchmark import Context
from evaluation.passk import pass_1_by_category
from evaluation.results import Progress, TrialRecord, open_journal, read_trials, settled
from generation.environments.sql import SqlWorlds
from generation.llm.base import LLM, LLMError
from generation.llm.meter import Meter
from generation.llm.openai import OpenAILLM
from generation.pipeline import Subject
from generation.rollout import Cast, Rollout, RolloutSettings, Scene
from generation.running import run_workers
from generation.seeds.bundled import BundledSeeds
from generation.stage import subjects
from generation.tasks import TaskSettings
from generation.toolmaking.invention import ToolmakingSettings, make_tools
from generation.toolset import Toolset
from generation.user import UserSettings
from generation.validation import outcomes, replay

HARNESS = "heldout 1"
Category = Literal["unseen_databases", "trained_databases"]


class HeldoutSettings(Settings):
    """`dialogues` are held in each category; `seed` must differ from the generation's, so that tasks are unseen."""

    dialogues: int = Field(ge=1)
    categories: tuple[Category, ...] = ("unseen_databases", "trained_databases")
    seed: int
    max_tools: int = Field(ge=3)
    rows_per_table: int = Field(ge=1)
    seeds_cache: Path
    row_cap: int = 50
    time_limit_s: float = 1.0
    tasks: TaskSettings
    rollout: RolloutSettings
    user: UserSettings


@dataclass(frozen=True)
class Trial:
    """One dialogue to hold: the same `dialogue_id` poses the same first task in every trial and to every model."""

    category: Category
    dialogue_id: str
    subject: Subject
    number: int

    @property
    def key(self) -> str:
        return f"heldout/{self.category}/{self.dialogue_id}/{self.number}"


class Heldout:
    """The benchmark of conf/benchmark/heldout.yaml. `partner` plays the user and writes the tasks."""

    def __init__(self, partner: LLM, **settings: Any) -> None:
        self.partner = partner
        self.settings = typed(settings, HeldoutSettings, "benchmarks.heldout")

    def run(self, context: Context, directory: Path, progress: Progress | None = None) -> list[TrialRecord]:
        """Raises UserError where tasks on trained databases are asked for and the generation run is not known."""
        return asyncio.run(Session(self.settings, self.partner, context).run(directory, progress))

    def figures(self, records: Sequence[TrialRecord]) -> dict[str, float | None]:
        return pass_1_by_category(records)


class Session:
    """One evaluation of one endpoint. The tools of `context.generation` are met again on its databases, its goals are not."""

    def __init__(self, settings: HeldoutSettings, partner: LLM, context: Context) -> None:
        self.endpoint = context.endpoint
        self.trials = context.trials
        self.generation = context.generation
        self.held_back = context.held_back
        self.settings = settings
        self.partner = partner
        self.worlds = SqlWorlds(settings.row_cap, settings.time_limit_s)
        self.agents: dict[int, OpenAILLM] = {}

    async def run(self, directory: Path, progress: Progress | None = None) -> list[TrialRecord]:
        """Hold what the journal in `directory` lacks. Raises UserError where the trained databases cannot be found."""
        path = directory / "trials.jsonl"
        known = settled(path)
        waiting = [trial for trial in self._trials(await self._subjects()) if trial.key not in known]
        done = 0
        with open_journal(path) as journal:

            async def work(queue: Iterator[Trial]) -> None:
                nonlocal done
                for trial in queue:
                    record, dialogue = await self._hold(trial)
                    if dialogue:
                        write_jsonl(directory / "dialogues" / f"{trial.key.replace('/', '_')}.jsonl", [dialogue])
                    journal.append(record, record.key)
                    done += 1
                    if progress:
                        progress("held-out", done, len(waiting))

            queue = iter(waiting)
            try:
                await run_workers(self.endpoint.concurrency, lambda: work(queue))
            finally:
                self.worlds.close()
                for model in (self.partner, *self.agents.values()):
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
                seed=self.settings.seed + trial,
            )
        return self.agents[trial]

    async def _subjects(self) -> dict[Category, tuple[Subject, ...]]:
        found: dict[Category, tuple[Subject, ...]] = {}
        rows, seed = self.settings.rows_per_table, self.settings.seed
        if "unseen_databases" in self.settings.categories:
            seeds = BundledSeeds(self.settings.seeds_cache, held_out=True).load()
            making = ToolmakingSettings(max_tools=self.settings.max_tools, attempts=1, questions=0, expansion=0)
            made = [await make_tools(each, Meter(self.partner), making) for each in seeds]
            found["unseen_databases"] = subjects(made, rows, seed)
        if "trained_databases" in self.settings.categories:
            if self.generation is None:
                raise UserError("unseen tasks on trained databases need the generation run that made the training data")
            found["trained_databases"] = _trained(self.generation, self.held_back, rows, seed)
        return found

    def _trials(self, found: dict[Category, tuple[Subject, ...]]) -> Iterator[Trial]:
        for category, domains in found.items():
            for number in range(self.settings.dialogues):
                subject = domains[number % len(domains)]
                for trial in range(self.trials):
                    yield Trial(category, f"{category}-{subject.domain.name}-{number:04d}", subject, trial)

    async def _hold(self, trial: Trial) -> tuple[TrialRecord, Dialogue | None]:
        """One dialogue and its record. What keeps the model from being asked is infrastructure, never a score."""
        endpoint = self.endpoint
        meter = Meter(self._agent(trial.number))
        scene = self._scene(trial, meter)
        began = time.monotonic()
        base: dict[str, Any] = {
            "benchmark": "heldout",
            "harness": HARNESS,
            "category": trial.category,
            "task_id": trial.dialogue_id,
            "trial": trial.number,
            "model": endpoint.model,
            "sampling": endpoint.sampling,
            "simulator": self.partner.name,
        }
        draft = Dialogue(
            dialogue_id=trial.dialogue_id,
            pipeline="heldout",
            domain=trial.subject.domain.name,
            tools=scene.world.tools,
        )
        try:
            dialogue = await Rollout(draft, scene).play()
        except LLMError as error:
            return TrialRecord(**base, infrastructure_error=str(error), stop_reason="infrastructure"), None
        if not dialogue.tasks:  # the partner's failure, not the model's: it was never asked anything
            return TrialRecord(**base, infrastructure_error=dialogue.stop, stop_reason="infrastructure"), None
        checks = []
        if dialogue.stop == "complete":
            checks = await outcomes(dialogue, scene.world, await replay(dialogue, scene.world))
        valid, calls = count_calls(dialogue)
        record = TrialRecord(
            **base,
            success=bool(checks) and all(check.passed for check in checks),
            stop_reason=dialogue.stop,
            calls=calls,
            valid_calls=valid,
            prompt_tokens=meter.usage.prompt_tokens,
            completion_tokens=meter.usage.completion_tokens,
            seconds=round(time.monotonic() - began, 3),
        )
        return record, dialogue

    def _scene(self, trial: Trial, agent: Meter) -> Scene:
        settings, partner = self.settings, Meter(self.partner)
        return Scene(
            domain=trial.subject.domain,
            world=self.worlds.world(trial.subject.toolset, partner, trial.dialogue_id),
            executable=True,
            cast=replace(Cast.of(partner), agent=agent),
            tasks=settings.tasks,
            rollout=settings.rollout,
            user=settings.user,
            seed=f"{settings.seed}/{trial.dialogue_id}",
        )


def _trained(generation: Path, held_back: frozenset[str], rows: int, seed: int) -> tuple[Subject, ...]:
    """The domains of a generation run that were trained on, with the goals of its dialogues as goals not to pose again."""
    seen = frozenset(
        task.goal
        for file in sorted(generation.glob("*/dialogues.jsonl"))
        for dialogue in read_jsonl(file, Dialogue)
        for task in dialogue.tasks
    )
    made = [
        toolset
        for toolset in read_jsonl(generation / "toolsets.jsonl", Toolset)
        if toolset.tools and toolset.domain not in held_back
    ]
    return tuple(replace(subject, domain=replace(subject.domain, seen=seen)) for subject in subjects(made, rows, seed))


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
