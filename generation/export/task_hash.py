"""The hashes of an export's tasks (generation.worlds.task_line), by which two exports can be proved to share none."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import Field

from core.journal import read_jsonl
from core.messages import Frozen
from core.settings import UserError

HASHES = "task_hashes.jsonl"
"""File of an export with the hash of each of its tasks."""


class TaskHash(Frozen):
    """One line of task_hashes.jsonl: task number `task` (from 0) of a dialogue."""

    task_hash: str = Field(pattern="^[0-9a-f]{64}$")
    dialogue_id: str
    task: int


def set_hash(hashes: Iterable[str]) -> str:
    """SHA-256 of a set of tasks; order and repetitions do not count."""
    return hashlib.sha256("\n".join(sorted(set(hashes))).encode()).hexdigest()


def hash_file(held_out: Path) -> Path:
    """The task_hashes.jsonl of an earlier export, of which the folder or the file itself is given. Raises UserError if
    there is none."""
    file = held_out / HASHES if held_out.is_dir() else held_out
    if not file.is_file():
        raise UserError(f"held_out={held_out} was given; expected: the folder of an export, or its {HASHES}")
    return file


def read_held_out(paths: Sequence[Path]) -> Mapping[str, str]:
    """Hash -> where it occurs, of the tasks of earlier exports: their folders, or their task_hashes.jsonl. Raises
    UserError for a path that is neither."""
    sources: dict[str, str] = {}
    for file in map(hash_file, paths):
        for line in read_jsonl(file, TaskHash):
            sources.setdefault(line.task_hash, f"{file.resolve().parent.name}: {line.dialogue_id}/{line.task}")
    return sources
