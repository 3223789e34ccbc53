"""A pipeline is a composition: domains, a kind of environment, a cast of models and rollout settings, run to n dialogues."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from core.dialogue import Dialogue
from core.messages import Frozen
from core.records import Journal, read_jsonl, write_json, write_jsonl
from core.settings import UserError
from generation.environments.base import Worlds
from generation.llm.base import LLM, LLMError
from generation.prompts import prompt_ids
from generation.rollout import Cast, Domain, Meter, Rollout, RolloutSettings
from generation.statistics import Outcome, Statistics, statistics
from generation.toolset import Toolset
from generation.user import UserSettings
from generation.validation import validate


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
class Pipeline:
    """Everything that decides what dialogue number i will be. `origin` goes into every line's provenance."""

    name: str
    subjects: tuple[Subject, ...]
    worlds: Worlds
    llm: LLM
    rollout: RolloutSettings
    user: UserSettings
    seed: int
    origin: dict[str, Any]

    async def dialogue(self, number: int) -> Outcome:
        """Make and validate one dialogue. Whatever goes wrong in it becomes its outcome; a UserError, which would meet every
        dialogue alike, and cancellation pass through."""
        name = dialogue_id(self.name, number)
        started = time.monotonic()
        try:
            if not self.subjects:
                reason = "tool_maker: no domain has enough tools that hold; see toolsets.jsonl"
                return Outcome(dialogue_id=name, status="rejected", reasons=(reason,))
            outcome = await self._make(name, self.subjects[number % len(self.subjects)])
        except UserError:
            raise
        except LLMError as error:
            outcome = Outcome(dialogue_id=name, status="failed", lost=True, reasons=(f"llm: {error}",))
        except Exception as error:
            # A fault of ours in one dialogue must neither end the run nor vanish: it is recorded and counted.
            outcome = Outcome(
                dialogue_id=name, status="failed", reasons=(f"internal: {type(error).__name__}: {error}",)
            )
        return outcome.model_copy(update={"seconds": round(time.monotonic() - started, 4)})

    async def _make(self, dialogue_id: str, subject: Subject) -> Outcome:
        meter = Meter(self.llm)
        world = self.worlds.world(subject.toolset, meter, dialogue_id)
        rng = Random(f"{self.seed}/{dialogue_id}")
        rollout = Rollout(dialogue_id, subject.domain, world, Cast.of(meter), self.rollout, self.user, rng)
        trajectory = await rollout.play()
        dialogue = Dialogue(
            dialogue_id=dialogue_id,
            pipeline=self.name,
            domain=subject.domain.name,
            tools=world.tools,
            messages=tuple(trajectory.messages),
            tasks=tuple(trajectory.tasks),
            task_starts=tuple(trajectory.starts),
            provenance=self.origin
            | {
                # Not before now: a client learns the name of the model it was given from the server.
                "llm": self.llm.name,
                "source": subject.toolset.provenance.get("source"),
                "licence": subject.toolset.provenance.get("licence"),
                "database_sha256": subject.toolset.database_sha256,
                "persona": rollout.user.persona,
                "tasks_requested": trajectory.tasks_requested,
                "refused_drafts": dict(rollout.writer.refusals),
            },
        )
        dialogue = await validate(dialogue, trajectory, world, meter, self.worlds.executable)
        dialogue = dialogue.model_copy(update={"usage": meter.usage})
        assert dialogue.verdict, "validate always gives a verdict"
        return Outcome(
            dialogue_id=dialogue_id,
            status="accepted" if dialogue.verdict.accepted else "rejected",
            reasons=dialogue.verdict.reasons,
            dialogue=dialogue,
            tasks_requested=trajectory.tasks_requested,
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
        waiting = iter([number for number in range(n) if dialogue_id(pipeline.name, number) not in settled])

        def record(outcome: Outcome) -> None:
            clock = round(time.monotonic() - began, 4)
            outcome = outcome.model_copy(update={"session": session, "clock": clock})
            journal.append(outcome, outcome.dialogue_id)
            on_outcome(outcome)

        await run_workers(concurrency, lambda: _work(pipeline, waiting, record))
    return finish(pipeline.name, directory)


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


def dialogue_id(pipeline: str, number: int) -> str:
    return f"{pipeline}-{number:07d}"


def _outcomes(journal: Path) -> list[Outcome]:
    """The outcomes by dialogue id; of a dialogue that was tried again, the last."""
    last = {outcome.dialogue_id: outcome for outcome in read_jsonl(journal, Outcome)}
    return [last[key] for key in sorted(last)]


def finish(name: str, directory: Path) -> Statistics:
    """Journal -> dialogues.jsonl, rejected.jsonl and statistics.json, in order of dialogue id."""
    outcomes = _outcomes(directory / "journal.jsonl")
    accepted = (outcome.dialogue for outcome in outcomes if outcome.status == "accepted" and outcome.dialogue)
    write_jsonl(directory / "dialogues.jsonl", accepted)
    rest = itertools.filterfalse(lambda outcome: outcome.status == "accepted", outcomes)
    write_jsonl(
        directory / "rejected.jsonl",
        (Rejection(dialogue_id=o.dialogue_id, status=o.status, reasons=o.reasons, dialogue=o.dialogue) for o in rest),
    )
    figures = statistics(name, outcomes)
    write_json(directory / "statistics.json", figures.model_dump(exclude_none=True))
    return figures
