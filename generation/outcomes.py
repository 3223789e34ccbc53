"""How each started dialogue ended: a pipeline's journals, one for each process that makes dialogues, read as one.

Memory holds an entry a dialogue, never its text, so that millions can be resumed and finished.
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

    "accepted" and "rejected" carry the dialogue; "failed" says what broke and carries what there was of it. It is `lost` where
    no model answered, which is worth another try, unlike a fault of ours, which would only repeat; `attempt` counts from 1.
    `seconds` is the dialogue's own wall-clock, `role_seconds` what each role waited for answers, `role_retries` how often its
    requests were sent again; `session` and `clock` (seconds since that session began) give the run's wall-clock across
    restarts.
    """

    dialogue_id: str
    status: Status
    lost: bool = False
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


class _Outcome(BaseModel):
    """The part of a line that tells whether the dialogue is to be made again."""

    dialogue_id: str
    status: Status
    lost: bool = False
    attempt: int = 1
    session: int = 0


@dataclass(frozen=True, slots=True)
class _Entry:
    status: Status
    lost: bool
    attempt: int
    file: Path
    offset: int


class Outcomes:
    """The journals in a pipeline's directory. Of a dialogue that was tried again the last attempt counts.

    Raises RecordError for a corrupt line; a torn last one is cut off when its journal is opened for writing.
    """

    def __init__(self, directory: Path) -> None:
        self.session = 1
        self._entries: dict[str, _Entry] = {}
        for file in sorted(directory.glob("journal*.jsonl")):
            for offset, head in indexed_jsonl(file, _Outcome):
                self.session = max(self.session, head.session + 1)
                known = self._entries.get(head.dialogue_id)
                if known is None or head.attempt >= known.attempt:
                    self._entries[head.dialogue_id] = _Entry(head.status, head.lost, head.attempt, file, offset)

    def lost(self, dialogue_id: str) -> int | None:
        """How often this dialogue was lost so far; None where it is settled."""
        entry = self._entries.get(dialogue_id)
        if entry is None:
            return 0
        return entry.attempt if entry.lost else None

    def heads(self) -> Iterator[Outcome]:
        """Every outcome without its dialogue, in order of id."""
        for name in sorted(self._entries):
            entry = self._entries[name]
            yield Outcome(dialogue_id=name, status=entry.status, lost=entry.lost, attempt=entry.attempt)

    def __iter__(self) -> Iterator[Outcome]:
        """Every outcome, in order of id, read one at a time."""
        for name in sorted(self._entries):
            yield read_jsonl_at(self._entries[name].file, self._entries[name].offset, Outcome)


def journal(directory: Path, shard: int = 0) -> Journal:
    """The journal of one of the processes that make a pipeline's dialogues."""
    name = f"journal-{shard:03d}.jsonl" if shard else "journal.jsonl"
    return Journal(directory / name, key=lambda record: str(record["dialogue_id"]))
