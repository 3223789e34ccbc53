"""A pipeline run to n dialogues: who makes which, how often one is tried, and the files at the end."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import Field
from pydantic_core import PydanticSerializationError

from core.dialogue import Dialogue
from core.journal import dump_line, write_json, write_jsonl, writing
from core.messages import Frozen
from core.settings import Settings, UserError
from generation.metrics.statistics import Statistics, StatisticsTally
from generation.outcomes import Outcome, Outcomes, journal
from generation.pipeline import Pipeline, dialogue_id, failed
from generation.start_states.preferences import preferences


class AttemptSettings(Settings):
    """How often a dialogue is tried for which no model answers: in one session, at the end of the queue again, and in all. After
    the last it is a dead letter. So many `lost_in_a_row` say that nobody answers at all, and end the session."""

    session: int = Field(ge=1)
    total: int = Field(ge=1)
    lost_in_a_row: int = Field(ge=1)


class Rejection(Frozen):
    """One line of rejected.jsonl: a dialogue that was not accepted, and why."""

    dialogue_id: str
    reasons: tuple[str, ...]
    dialogue: Dialogue | None = None


class DeadLetter(Frozen):
    """One line of dead_letters.jsonl: a dialogue that could not be made, how often it was tried, and what there was of it."""

    dialogue_id: str
    attempts: int
    lost: bool
    reasons: tuple[str, ...]
    trace: str = ""
    dialogue: Dialogue | None = None


@dataclass(frozen=True)
class Batch:
    """Dialogues to make: their numbers in the order to begin them, and how often each was lost before. `shard` is whose share of
    the run it is."""

    numbers: tuple[int, ...]
    lost: dict[int, int]
    session: int
    attempts: AttemptSettings
    concurrency: int
    shard: int = 0


class Executor(Protocol):
    """Where the dialogues of a run are made. Cheap to construct."""

    async def work(
        self, pipeline: Pipeline, directory: Path, batch: Batch, on_outcome: Callable[[Outcome], None]
    ) -> None:
        """Make the batch; every outcome is in a journal of `directory` before it is told. Raises UserError and OSError."""
        ...


class Local:
    """In this process."""

    async def work(
        self, pipeline: Pipeline, directory: Path, batch: Batch, on_outcome: Callable[[Outcome], None]
    ) -> None:
        await work(pipeline, directory, batch, on_outcome)


async def run(
    pipeline: Pipeline,
    directory: Path,
    n: int,
    concurrency: int,
    attempts: AttemptSettings,
    executor: Executor,
    on_outcome: Callable[[Outcome], None],
) -> Statistics:
    """Make dialogues 0..n-1, `concurrency` at a time, skipping those the journals have settled; then write the final files.

    Each dialogue is on disk before the next of its worker begins, so a killed run loses only what was in flight. Raises
    OSError where a journal cannot be written.
    """
    with journal(directory):
        pass  # a torn line at its end is cut off before it is read
    earlier = Outcomes(directory)
    lost: dict[int, int] = {}
    for number in range(pipeline.start_states.count(n)):
        times = earlier.lost(dialogue_id(pipeline.name, number))
        if times is not None and times < attempts.total:
            lost[number] = times
    for outcome in earlier.heads():
        if not outcome.lost or outcome.attempt >= attempts.total:
            on_outcome(outcome)
    if lost:
        numbers = in_order(tuple(lost), pipeline.weight, concurrency)
        batch = Batch(numbers, lost, earlier.session, attempts, concurrency)
        await executor.work(pipeline, directory, batch, on_outcome)
    return finish(pipeline, directory)


def in_order(numbers: tuple[int, ...], weight: Callable[[int], int], concurrency: int) -> tuple[int, ...]:
    """As they are, but of the last few rounds the longest first: so all workers end at about the same time."""
    tail = max(0, len(numbers) - 4 * concurrency)
    return numbers[:tail] + tuple(sorted(numbers[tail:], key=lambda number: -weight(number)))


@dataclass
class _Desk:
    """The state of one process's work on a batch."""

    queue: deque[tuple[int, int]]
    began: float = field(default_factory=time.monotonic)
    lost_in_a_row: int = 0


async def work(pipeline: Pipeline, directory: Path, batch: Batch, on_outcome: Callable[[Outcome], None]) -> None:
    """Make a batch in this process, its outcomes in the shard's journal. A dialogue for which no model answers goes to the end
    of the queue, as often as the session allows. Raises UserError where nobody answers any more, OSError for a full disk."""
    desk = _Desk(deque((number, 1) for number in batch.numbers))
    with journal(directory, batch.shard) as lines:

        def record(outcome: Outcome, number: int, tries: int) -> None:
            clock = round(time.monotonic() - desk.began, 4)
            seen = batch.lost.get(number, 0) + tries
            outcome = outcome.model_copy(update={"session": batch.session, "clock": clock, "attempt": seen})
            try:
                lines.append(outcome, outcome.dialogue_id)
            except PydanticSerializationError as error:  # nothing was written
                broken = failed(outcome.dialogue_id, f"internal: no file can hold the dialogue: {error}")
                outcome = outcome.model_copy(update=broken.model_dump(include=_REPLACED))
                lines.append(outcome, outcome.dialogue_id)
            if not _again(desk, batch, outcome, number, tries):
                on_outcome(outcome)

        async def worker() -> None:
            while desk.queue:
                number, tries = desk.queue.popleft()
                record(await pipeline.dialogue(number), number, tries)

        await run_workers(batch.concurrency, worker)


_REPLACED = {"status", "lost", "reasons", "dialogue", "trace"}


def _again(desk: _Desk, batch: Batch, outcome: Outcome, number: int, tries: int) -> bool:
    """Whether a dialogue was lost and is queued again: not if it was tried often enough. Raises UserError if nobody answers at
    all."""
    desk.lost_in_a_row = desk.lost_in_a_row + 1 if outcome.lost else 0
    if not outcome.lost:
        return False
    if desk.lost_in_a_row >= batch.attempts.lost_in_a_row:
        raise UserError(
            f"no model answered {desk.lost_in_a_row} dialogues in a row; the last said: {outcome.reasons[0]}. "
            "What was made is kept; the same command goes on"
        )
    again = tries < batch.attempts.session and outcome.attempt < batch.attempts.total
    if again:
        desk.queue.append((number, tries + 1))
    return again


async def run_workers(count: int, worker: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run `count` workers to their end; the first error of one stops the others and is raised as it is, not in a group."""
    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(count):
                workers.create_task(worker())
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


def finish(pipeline: Pipeline, directory: Path) -> Statistics:
    """Journals -> dialogues.jsonl, rejected.jsonl, dead_letters.jsonl, statistics.json and, of forks, preferences.jsonl, in order
    of dialogue id. One outcome at a time is in memory, all branches of forks apart."""
    rules = pipeline.settings.user.rules if pipeline.settings.rollout.user_simulator else None
    tally = StatisticsTally(pipeline.name, rules, pipeline.quality, pipeline.costs)
    branches: list[Dialogue] = []
    with ExitStack() as files:
        accepted, rejected, dead = (
            files.enter_context(writing(directory / f"{name}.jsonl"))
            for name in ("dialogues", "rejected", "dead_letters")
        )
        for outcome in Outcomes(directory):
            tally.add(outcome)
            if outcome.status == "accepted" and outcome.dialogue:
                accepted.write(dump_line(outcome.dialogue))
            elif outcome.status == "rejected":
                rejected.write(dump_line(_rejection(outcome)))
            else:
                dead.write(dump_line(_dead_letter(outcome)))
            if pipeline.start_states.settings.branches > 1 and outcome.dialogue:
                branches.append(outcome.dialogue)
    if pipeline.start_states.settings.branches > 1:
        write_jsonl(directory / "preferences.jsonl", preferences(branches))
    figures = tally.result()
    write_json(directory / "statistics.json", figures.model_dump(mode="json", exclude_none=True))
    return figures


def _rejection(o: Outcome) -> Rejection:
    return Rejection(dialogue_id=o.dialogue_id, reasons=o.reasons, dialogue=o.dialogue)


def _dead_letter(o: Outcome) -> DeadLetter:
    return DeadLetter(
        dialogue_id=o.dialogue_id,
        attempts=o.attempt,
        lost=o.lost,
        reasons=o.reasons,
        trace=o.trace,
        dialogue=o.dialogue,
    )


def shards(batch: Batch, count: int) -> Sequence[Batch]:
    """The batch dealt out to `count` processes, numbered from 1, each with its share of the concurrency."""
    each = max(1, batch.concurrency // count)
    return [
        Batch(batch.numbers[k::count], batch.lost, batch.session, batch.attempts, each, shard=k + 1)
        for k in range(count)
    ]
