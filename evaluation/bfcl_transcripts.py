"""Failed BFCL trials as text files that a person can read: why the official checker refused, and what was said and called."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from core.records import write_atomically
from evaluation.results import TrialRecord

LONGEST = 4000
"""Characters of one message; what is longer (a simulated file system, say) is cut and says so."""


def transcript_path(directory: Path, record: TrialRecord) -> Path:
    """Where the transcript of a failed trial lies in the benchmark's run directory."""
    return directory / "transcripts" / record.category / f"{record.task_id}-{record.trial}.txt"


def write_transcript(
    directory: Path, record: TrialRecord, answer: Mapping[str, Any], verdict: Mapping[str, Any]
) -> None:
    """`answer` is the trial's line among the official results, `verdict` its line among the scores, empty without one."""
    facts = f"stop reason {record.stop_reason}, {record.calls} calls of which {record.valid_calls} fit their tools"
    lines = [
        f"{record.task_id}, trial {record.trial}: failed",
        f"{record.model} · {record.harness} · {facts}, {record.truncations} answers cut at max_tokens",
        *_section("why", _reasons(answer, verdict)),
        *(line for message in answer.get("messages", ()) for line in _message(message)),
    ]
    text = "\n".join(lines) + "\n"
    write_atomically(transcript_path(directory, record), text.encode(errors="replace").decode())


def _reasons(answer: Mapping[str, Any], verdict: Mapping[str, Any]) -> str:
    error = verdict.get("error", answer["result"] if "failure" in answer else "no reason was given")
    kind = verdict.get("error_type") or answer.get("failure", "")
    if isinstance(error, dict):
        kind = error.get("error_type", kind)
        details = {key: value for key, value in error.items() if key not in ("error_type", "error_message", "valid")}
        error = [error.get("error_message", ""), *(f"{key}: {_plain(value)}" for key, value in details.items())]
    reasons = [str(reason) for reason in error] if isinstance(error, list) else [str(error)]
    if "possible_answer" in verdict:
        reasons.append(f"expected: {_plain(verdict['possible_answer'])}")
    return _cut("\n".join([kind, *reasons]))


def _message(message: Mapping[str, Any]) -> Iterator[str]:
    if message.get("reasoning"):
        yield from _section(f"{message['role']} thinks", _cut(message["reasoning"]))
    if message.get("content"):
        yield from _section(message["role"], _cut(_plain(message["content"])))
    for call in message.get("tool_calls", ()):
        yield from _section(
            f"{message['role']} calls", _cut(f"{call['function']['name']}({call['function']['arguments']})")
        )


def _section(title: str, text: str) -> Iterator[str]:
    yield from ("", f"[{title}]", text)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} … ({len(text) - LONGEST} more characters)"
