"""Readable transcripts of trials: `transcripts/<category>/<task>-<trial>.txt` in the benchmark's directory."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.files import write_atomically
from evaluation.trials import TrialRecord

_MAX_NAME_LENGTH = 120


def transcript_path(category: str, task_id: str, trial: int) -> str:
    """The path of a trial's transcript, relative to the benchmark's directory."""
    return f"transcripts/{_file_name(category)}/{_file_name(task_id)}-{trial}.txt"


def _file_name(name: str) -> str:
    """`name` as a valid file name; a changed name gets a hash, so that different names stay different."""
    safe = re.sub(r"[^\w.,=+@ -]", "_", name)[:_MAX_NAME_LENGTH].strip()
    return safe if safe == name else f"{safe}.{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def write_transcript(
    directory: Path, record: TrialRecord, notes: Sequence[str], messages: Sequence[Mapping[str, Any]]
) -> TrialRecord:
    """Write the transcript of `record` below the benchmark's `directory`; returns the record with the transcript's
    path.

    `notes` state the task and why the trial failed; `messages` are in OpenAI's chat format.
    """
    path = transcript_path(record.category, record.task_id, record.trial)
    outcome = "not scored" if record.success is None else "passed" if record.success else "FAILED"
    head = [
        f"{record.benchmark} · {record.category} · {record.task_id} · trial {record.trial}",
        f"model {record.model} · {outcome} · {record.infrastructure_error or record.stop_reason}",
        *([f"to blame: the {record.blame} ({record.blame_reason})"] if record.blame else []),
        *notes,
    ]
    body = [line for message in messages for line in _lines(message)]
    # A model may write a lone surrogate, which UTF-8 cannot encode.
    text = "\n".join([*head, *body]).encode(errors="replace").decode()
    write_atomically(directory / path, text + "\n")
    return record.model_copy(update={"transcript": path})


def _lines(message: Mapping[str, Any]) -> Iterator[str]:
    yield f"\n--- {message['role']}"
    if thought := message.get("reasoning_content") or message.get("reasoning"):
        yield f"(thinking) {thought}"
    if content := message.get("content"):
        yield content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    for call in message.get("tool_calls") or ():
        yield f"-> {call['function']['name']}({call['function']['arguments']})"
