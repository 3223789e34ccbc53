"""Runs a pipeline to n dialogues: scheduling, retries and the final files."""

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
from core.files import write_json, writing
from core.journal import dump_line, write_jsonl
from core.messages import Frozen
from core.settings import Settings, UserError
from generation.metrics.statistics import Statistics, StatisticsTally
from generation.outcomes import Outcome, Outcomes, journal
from generation.pipeline import Pipeline, dialogue_id, failed
from generation.start_states.preferences import preferences


class AttemptSettings(Settings):
    """Retry limits for dialogues that got no model response."""

    session: int = Field(ge=1, description="attempts per dialogue in one session, each at the end of the queue")
    total: int = Field(ge=1, description="attempts per dialogue in all sessions; then it is a dead letter")
    unanswered_in_a_row: int = Field(
        ge=1, description="consecutive unanswered dialogues that end the session; the same command resumes the run"
    )


class Rejection(Frozen):
    """One line of rejected.jsonl: a dialogue that was not accepted, and why."""

    dialogue_id: str
    reasons: tuple[str, ...]
    dialogue: Dialogue | None = None


class DeadLetter(Frozen):
    """One line of dead_letters.jsonl: a failed dialogue, its number of attempts, and its messages so far."""

    dialogue_id: str
    attempts: int
    unanswered: bool
    reasons: tuple[str, ...]
    trace: str = ""
    dialogue: Dialogue | None = None


@dataclass(frozen=True)
class Batch:
    """Dialogues to generate: their numbers in starting order, and the number of unanswered attempts at each so far.
    `shard` is the number of the process that generates them."""

    numbers: tuple[int, ...]
    unanswered: dict[int, int]
    session: int
    attempts: AttemptSettings
    concurrency: int
    shard: int = 0


class Executor(Protocol):
    """Where the dialogues of a run are generated. Cheap to construct."""

    async def work(
        self, pipeline: Pipeline, directory: Path, batch: Batch, on_outcome: Callable[[Outcome], None]
    ) -> None:
        """Generate the batch; an outcome is in a journal of `directory` before `on_outcome` gets it. Raises UserError
        and OSError."""
        ...


class Local:
    """Generates in this process."""

    async def work(
        self, pipeline: Pipeline, directory: Path, batch: Batch, on_outcome: Callable[[Outcome], None]
    ) -> None:
        await run_batch(pipeline, directory, batch, on_outcome)


async def run_pipeline(
    pipeline: Pipeline,
    directory: Path,
    n: int,
    concurrency: int,
    attempts: AttemptSettings,
    executor: Executor,
    on_outcome: Callable[[Outcome], None],
) -> Statistics:
    """Generate dialogues 0..n-1, `concurrency` at a time, skipping those that the journals have settled; then write the
    final files.

    Each dialogue is on disk before its worker starts the next, so a killed run loses only what was in flight. Raises
    OSError if a journal cannot be written.
    """
    with journal(directory):
        pass  # opening it cuts off a torn last line before the journal is read
    earlier = Outcomes(directory)
    unanswered: dict[int, int] = {}
    for number in range(pipeline.start_states.count(n)):
        tried = earlier.unanswered_attempts(dialogue_id(pipeline.name, number))
        if tried is not None and tried < attempts.total:
            unanswered[number] = tried
    for outcome in earlier.heads():
        if not outcome.unanswered or outcome.attempt >= attempts.total:
            on_outcome(outcome)
    if unanswered:
        numbers = in_order(tuple(unanswered), pipeline.weight, concurrency)
        batch = Batch(numbers, unanswered, earlier.session, attempts, concurrency)
        await executor.work(pipeline, directory, batch, on_outcome)
    return finish(pipeline, directory)


def in_order(numbers: tuple[int, ...], weight: Callable[[int], int], concurrency: int) -> tuple[int, ...]:
    """The same numbers, but the last few rounds longest first, so that all workers finish at about the same time."""
    tail = max(0, len(numbers) - 4 * concurrency)
    return numbers[:tail] + tuple(sorted(numbers[tail:], key=lambda number: -weight(number)))


@dataclass
class _BatchState:
    """The state of one process's work on a batch. `queue` holds (dialogue number, attempt in this session)."""

    queue: deque[tuple[int, int]]
    started: float = field(default_factory=time.monotonic)
    unanswered_in_a_row: int = 0


async def run_batch(pipeline: Pipeline, directory: Path, batch: Batch, on_outcome: Callable[[Outcome], None]) -> None:
    """Generate a batch in this process, its outcomes in the shard's journal. An unanswered dialogue goes to the end of
    the queue, as often as the session allows. Raises UserError once no model responds, OSError for a full disk."""
    state = _BatchState(deque((number, 1) for number in batch.numbers))
    with journal(directory, batch.shard) as lines:

        def record(outcome: Outcome, number: int, tries: int) -> None:
            clock = round(time.monotonic() - state.started, 4)
            attempt = batch.unanswered.get(number, 0) + tries
            outcome = outcome.model_copy(update={"session": batch.session, "clock": clock, "attempt": attempt})
            try:
                lines.append(outcome, outcome.dialogue_id)
            except PydanticSerializationError as error:  # nothing was written
                unwritable = failed(outcome.dialogue_id, f"internal: the dialogue cannot be written as UTF-8: {error}")
                outcome = outcome.model_copy(update=unwritable.model_dump(include=_REPLACED))
                lines.append(outcome, outcome.dialogue_id)
            if not _requeue(state, batch, outcome, number, tries):
                on_outcome(outcome)

        async def worker() -> None:
            while state.queue:
                number, tries = state.queue.popleft()
                record(await pipeline.dialogue(number), number, tries)

        await run_workers(batch.concurrency, worker)


_REPLACED = {"status", "unanswered", "reasons", "dialogue", "trace"}


def _requeue(state: _BatchState, batch: Batch, outcome: Outcome, number: int, tries: int) -> bool:
    """Queue an unanswered dialogue again unless its attempts are used up; return whether it was queued. Raises
    UserError once no model responds."""
    state.unanswered_in_a_row = state.unanswered_in_a_row + 1 if outcome.unanswered else 0
    if not outcome.unanswered:
        return False
    if state.unanswered_in_a_row >= batch.attempts.unanswered_in_a_row:
        raise UserError(
            f"no model answered {state.unanswered_in_a_row} dialogues in a row; the last error: {outcome.reasons[0]}. "
            "Finished dialogues are kept; the same command resumes the run"
        )
    again = tries < batch.attempts.session and outcome.attempt < batch.attempts.total
    if again:
        state.queue.append((number, tries + 1))
    return again


async def run_workers(count: int, worker: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run `count` workers to their end; the first error stops the others and is raised itself, not in a group."""
    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(count):
                workers.create_task(worker())
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


def finish(pipeline: Pipeline, directory: Path) -> Statistics:
    """Journals -> dialogues.jsonl, rejected.jsonl, dead_letters.jsonl, statistics.json and, for forks,
    preferences.jsonl, all in order of dialogue id. Memory holds one outcome at a time, and all branches of forks."""
    users = pipeline.settings.user if pipeline.settings.rollout.user_simulator else None
    tally = StatisticsTally(pipeline.name, users, pipeline.quality, pipeline.costs, pipeline.saturation)
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
    statistics = tally.result()
    write_json(directory / "statistics.json", statistics.model_dump(mode="json", exclude_none=True))
    return statistics


def _rejection(outcome: Outcome) -> Rejection:
    return Rejection(dialogue_id=outcome.dialogue_id, reasons=outcome.reasons, dialogue=outcome.dialogue)


def _dead_letter(outcome: Outcome) -> DeadLetter:
    return DeadLetter(
        dialogue_id=outcome.dialogue_id,
        attempts=outcome.attempt,
        unanswered=outcome.unanswered,
        reasons=outcome.reasons,
        trace=outcome.trace,
        dialogue=outcome.dialogue,
    )


def shards(batch: Batch, count: int) -> Sequence[Batch]:
    """The batch split over `count` processes, numbered from 1, each with its share of the concurrency (at least 1)."""
    concurrency = max(1, batch.concurrency // count)
    return [
        Batch(batch.numbers[k::count], batch.unanswered, batch.session, batch.attempts, concurrency, shard=k + 1)
        for k in range(count)
    ]
