"""A pipeline is a composition: domains, a kind of environment, a model, stages and their settings, run to n dialogues."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from pydantic_core import PydanticSerializationError

from core.dialogue import Dialogue
from core.messages import Frozen
from core.records import Journal, read_jsonl, write_json, write_jsonl
from core.settings import UserError
from generation.environments.base import Worlds
from generation.figures.quality import QualitySettings
from generation.figures.statistics import Outcome, Statistics, statistics
from generation.llm.base import LLM, LLMError, UnusableAnswerError
from generation.llm.meter import Meter
from generation.prompts import prompt_ids
from generation.rollout import Cast, RolloutSettings, Scene
from generation.stages import DialogueStage
from generation.starts.preferences import preferences
from generation.starts.start import Start, StartSettings, begin
from generation.tasks import Domain, TaskSettings
from generation.toolset import Toolset
from generation.user import UserSettings
from generation.validation import broken_off


class Rejection(Frozen):
    """One line of rejected.jsonl: a dialogue that was not accepted, or a failure that left none, and why."""

    dialogue_id: str
    status: str
    reasons: tuple[str, ...]
    dialogue: Dialogue | None = None


@dataclass(frozen=True)
class Subject:
    """One domain to generate from: its tools and what a task writer may know of its data."""

    toolset: Toolset
    domain: Domain


@dataclass(frozen=True)
class Beginnings:
    """What the dialogues of a run go on from; none: from nothing."""

    starts: tuple[Start, ...]
    settings: StartSettings

    def count(self, n: int) -> int:
        """How many of `n` dialogues there can be: each start once for each of its branches."""
        return min(n, len(self.starts) * self.settings.branches) if self.starts else n


@dataclass(frozen=True)
class Pipeline:
    """Everything that decides what dialogue number i will be. `origin` goes into every line's provenance."""

    name: str
    subjects: tuple[Subject, ...]
    worlds: Worlds
    llm: LLM
    stages: tuple[DialogueStage, ...]
    tasks: TaskSettings
    rollout: RolloutSettings
    user: UserSettings
    quality: QualitySettings
    seed: int
    origin: dict[str, Any]
    beginnings: Beginnings

    async def dialogue(self, number: int) -> Outcome:
        """Make dialogue `number`. Whatever goes wrong in it becomes its outcome; a UserError, which would meet every
        dialogue alike, and cancellation pass through."""
        name = dialogue_id(self.name, number)
        started = time.monotonic()
        try:
            outcome = await self._outcome(name, number)
        except UserError:
            raise
        except LLMError as error:
            outcome = _failed(name, f"llm: {error}", lost=True)
        except Exception as error:
            # A fault of ours in one dialogue must neither end the run nor vanish: it is recorded and counted.
            outcome = _failed(name, f"internal: {type(error).__name__}: {error}")
        return outcome.model_copy(update={"seconds": round(time.monotonic() - started, 4)})

    async def _outcome(self, name: str, number: int) -> Outcome:
        try:
            draft, subject = self._begin(name, number)
        except ValueError as error:
            return Outcome(dialogue_id=name, status="rejected", reasons=(str(error),))
        dialogue = await self._make(draft, subject)
        verdict = dialogue.verdict
        return Outcome(
            dialogue_id=name,
            # Where no stage validates, what came through the chosen stages is all that can be said.
            status="accepted" if verdict is None or verdict.accepted else "rejected",
            reasons=verdict.reasons if verdict else (),
            dialogue=dialogue,
            tasks_requested=dialogue.provenance.get("tasks_requested", 0),
        )

    def _begin(self, name: str, number: int) -> tuple[Dialogue, Subject]:
        """The dialogue as it stands before the first stage, and its subject. Raises ValueError where it cannot begin."""
        starts, settings = self.beginnings.starts, self.beginnings.settings
        if not starts:
            subject = self._subject(number)
            draft = Dialogue(
                dialogue_id=name, pipeline=self.name, domain=subject.domain.name, tools=subject.toolset.tools
            )
            return draft, subject
        start = starts[number // settings.branches]
        if not start.dialogue:
            raise ValueError(f"start: {start.problem}")
        # All branches of one parent fork at the same place.
        draft = begin(start.dialogue, name, settings.at, Random(f"{self.seed}/{start.parent}/fork"))
        subject = self._subject_of(draft, number // settings.branches)
        known = {tool.name: tool.parameters for tool in draft.tools}
        tools = (*draft.tools, *(tool for tool in subject.toolset.tools if tool.name not in known))
        if self.worlds.engine is not None:
            # What is declared must be what is executed.
            other = [t.name for t in subject.toolset.tools if known.get(t.name, t.parameters) != t.parameters]
            if other:
                raise ValueError(f"start: its tools {other} take other arguments than those of {subject.domain.name}")
        else:
            subject = Subject(subject.toolset.model_copy(update={"tools": tools}), subject.domain)
        update = {"pipeline": self.name, "domain": subject.domain.name, "tools": tools}
        return draft.model_copy(update=update), subject

    def _subject(self, number: int) -> Subject:
        if not self.subjects:
            raise ValueError("tool_maker: no domain has enough tools that hold; see toolsets.jsonl")
        return self.subjects[number % len(self.subjects)]

    def _subject_of(self, draft: Dialogue, number: int) -> Subject:
        """The domain that a given dialogue names, else its own tools where they can be simulated, else one of the seeds' if that
        is wanted or the dialogue names none. Raises ValueError where its domain can neither be simulated nor executed."""
        for subject in self.subjects:
            if subject.domain.name == draft.domain:
                return subject
        if draft.tools and self.worlds.engine is None and not self.beginnings.settings.inject:
            name = draft.domain or "given"
            return Subject(Toolset(domain=name, description="", tools=draft.tools), Domain(name, None, {}))
        if draft.domain and not self.beginnings.settings.inject:
            there = ", ".join(subject.domain.name for subject in self.subjects) or "none"
            raise ValueError(f"start: there is no toolset of its domain {draft.domain!r}; there are: {there}")
        return self._subject(number)

    async def _make(self, dialogue: Dialogue, subject: Subject) -> Dialogue:
        """The dialogue after all stages, or up to where it broke off."""
        meter = Meter(self.llm)
        scene = Scene(
            domain=subject.domain,
            world=self.worlds.world(subject.toolset, meter, dialogue.dialogue_id),
            executable=self.worlds.executable,
            cast=Cast.of(meter),
            tasks=self.tasks,
            rollout=self.rollout,
            user=self.user,
            seed=f"{self.seed}/{dialogue.dialogue_id}",
        )
        for stage in self.stages:
            try:
                dialogue = await stage.dialogue(dialogue, scene)
            except UnusableAnswerError as error:
                dialogue = dialogue.model_copy(update={"stop": str(error)})
            if dialogue.stop not in ("complete", "open"):
                dialogue = broken_off(dialogue)
                break
        known = subject.toolset.provenance
        source = {key: known[key] for key in ("source", "licence") if key in known}
        # The model's name not before now: a client learns it from the server.
        made = {"llm": self.llm.name, "database_sha256": subject.toolset.database_sha256}
        return dialogue.model_copy(
            update={"usage": meter.usage, "provenance": dialogue.provenance | self.origin | source | made}
        )


def origin(fingerprint: str, commit: str, seed: int) -> dict[str, Any]:
    """The part of the provenance that all dialogues of a run share."""
    return {"config": fingerprint, "commit": commit, "seed": seed, "prompts": prompt_ids()}


async def run(
    pipeline: Pipeline, directory: Path, n: int, concurrency: int, on_outcome: Callable[[Outcome], None]
) -> Statistics:
    """Make dialogues 0..n-1, `concurrency` at a time, skipping those the journal already has, other than lost ones; then
    write the final files.

    Each dialogue is on disk before the next of its worker begins, so a killed run loses only what was in flight. Raises
    OSError where the journal cannot be written.
    """
    began = time.monotonic()
    with Journal(directory / "journal.jsonl", key=lambda record: str(record["dialogue_id"])) as journal:
        earlier = _outcomes(journal.path)
        session = max((outcome.session for outcome in earlier), default=0) + 1
        settled = {outcome.dialogue_id: outcome for outcome in earlier if not outcome.lost}
        for outcome in settled.values():
            on_outcome(outcome)
        numbers = range(pipeline.beginnings.count(n))
        waiting = iter([number for number in numbers if dialogue_id(pipeline.name, number) not in settled])

        def record(outcome: Outcome) -> None:
            clock = round(time.monotonic() - began, 4)
            outcome = outcome.model_copy(update={"session": session, "clock": clock})
            try:
                journal.append(outcome, outcome.dialogue_id)
            except PydanticSerializationError as error:  # nothing was written
                failed = _failed(outcome.dialogue_id, f"internal: no file can hold the dialogue: {error}")
                outcome = outcome.model_copy(
                    update=failed.model_dump(include={"status", "lost", "reasons", "dialogue"})
                )
                journal.append(outcome, outcome.dialogue_id)
            on_outcome(outcome)

        await run_workers(concurrency, lambda: _work(pipeline, waiting, record))
    return finish(pipeline, directory)


async def run_workers(count: int, worker: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run `count` workers to their end; the first error of one stops the others and is raised as it is, not in a group."""
    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(count):
                workers.create_task(worker())
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


async def _work(pipeline: Pipeline, waiting: Iterator[int], record: Callable[[Outcome], None]) -> None:
    for number in waiting:
        record(await pipeline.dialogue(number))


def _failed(name: str, why: str, lost: bool = False) -> Outcome:
    """What `why` quotes may hold half a character, which no file can."""
    reason = why.encode(errors="replace").decode()
    return Outcome(dialogue_id=name, status="failed", lost=lost, reasons=(reason,))


def dialogue_id(pipeline: str, number: int) -> str:
    return f"{pipeline}-{number:07d}"


def _outcomes(journal: Path) -> list[Outcome]:
    """The outcomes by dialogue id; of a dialogue that was tried again, the last."""
    last = {outcome.dialogue_id: outcome for outcome in read_jsonl(journal, Outcome)}
    return [last[key] for key in sorted(last)]


def finish(pipeline: Pipeline, directory: Path) -> Statistics:
    """Journal -> dialogues.jsonl, rejected.jsonl, statistics.json and, of forks, preferences.jsonl, in order of dialogue id."""
    outcomes = _outcomes(directory / "journal.jsonl")
    accepted = (outcome.dialogue for outcome in outcomes if outcome.status == "accepted" and outcome.dialogue)
    write_jsonl(directory / "dialogues.jsonl", accepted)
    rest = itertools.filterfalse(lambda outcome: outcome.status == "accepted", outcomes)
    write_jsonl(
        directory / "rejected.jsonl",
        (Rejection(dialogue_id=o.dialogue_id, status=o.status, reasons=o.reasons, dialogue=o.dialogue) for o in rest),
    )
    if pipeline.beginnings.settings.branches > 1:
        dialogues = [outcome.dialogue for outcome in outcomes if outcome.dialogue]
        write_jsonl(directory / "preferences.jsonl", preferences(dialogues))
    rules = pipeline.user.rules if pipeline.rollout.user_simulator else None
    figures = statistics(pipeline.name, outcomes, rules, pipeline.quality)
    write_json(directory / "statistics.json", figures.model_dump(mode="json", exclude_none=True))
    return figures
