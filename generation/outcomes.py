"""How each started dialogue ended: the journals of a pipeline, one per process that generates dialogues, read as one.

Memory holds one entry per dialogue, never its text, so that millions can be resumed and finished.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from core.dialogue import Dialogue
from core.journal import Journal, indexed_jsonl, read_jsonl_at
from core.messages import Frozen

Status = Literal["accepted", "rejected", "failed"]


class Outcome(Frozen):
    """One line of a journal: how a started dialogue ended.

    "accepted" and "rejected" carry the dialogue; "failed" carries the error and the dialogue as far as it got.
    `unanswered` means that no model responded, so a retry may succeed; an internal error would only repeat. `attempt`
    counts from 1. Times are wall-clock seconds: `seconds` of the dialogue, `role_seconds` waited for each role's
    responses, `clock` since the start of the `session`; sessions and clocks add up to the run's time across restarts.
    `role_retries` counts re-sent requests.
    """

    dialogue_id: str
    status: Status
    unanswered: bool = False
    attempt: int = 1
    reasons: tuple[str, ...] = ()
    trace: str = ""
    dialogue: Dialogue | None = None
    tasks_requested: int = 0
    seconds: float = 0.0
    role_seconds: dict[str, float] = Field(default_factory=dict)
    role_retries: dict[str, int] = Field(default_factory=dict)
    session: int = 0
    clock: float = 0.0


class _OutcomeHead(BaseModel):
    """The part of a line that decides whether the dialogue is tried again."""

    dialogue_id: str
    status: Status
    unanswered: bool
    attempt: int
    session: int


@dataclass(frozen=True, slots=True)
class _Entry:
    status: Status
    unanswered: bool
    attempt: int
    file: Path
    offset: int


class Outcomes:
    """The journals in a pipeline's directory. For a dialogue with several attempts the last one counts.

    Raises RecordError for a corrupt line; a torn last line is cut off when its journal is opened for writing.
    """

    def __init__(self, directory: Path) -> None:
        self.session = 1
        self._entries: dict[str, _Entry] = {}
        for file in sorted(directory.glob("journal*.jsonl")):
            for offset, head in indexed_jsonl(file, _OutcomeHead):
                self.session = max(self.session, head.session + 1)
                known = self._entries.get(head.dialogue_id)
                if known is None or head.attempt >= known.attempt:
                    entry = _Entry(head.status, head.unanswered, head.attempt, file, offset)
                    self._entries[head.dialogue_id] = entry

    def unanswered_attempts(self, dialogue_id: str) -> int | None:
        """Unanswered attempts at this dialogue so far; None if it is settled."""
        entry = self._entries.get(dialogue_id)
        if entry is None:
            return 0
        return entry.attempt if entry.unanswered else None

    def heads(self) -> Iterator[Outcome]:
        """Every outcome without its dialogue, in order of id."""
        for name in sorted(self._entries):
            entry = self._entries[name]
            yield Outcome(dialogue_id=name, status=entry.status, unanswered=entry.unanswered, attempt=entry.attempt)

    def __iter__(self) -> Iterator[Outcome]:
        """Every outcome, in order of id, read one at a time."""
        for name in sorted(self._entries):
            yield read_jsonl_at(self._entries[name].file, self._entries[name].offset, Outcome)


def journal(directory: Path, shard: int = 0) -> Journal:
    """The journal of one of the processes that generate a pipeline's dialogues."""
    name = f"journal-{shard:03d}.jsonl" if shard else "journal.jsonl"
    return Journal(directory / name, key=lambda record: str(record["dialogue_id"]))
