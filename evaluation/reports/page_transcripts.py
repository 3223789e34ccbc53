"""The trials of an evaluation run as transcripts to browse."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.dialogue import Check, Dialogue
from core.journal import read_jsonl
from core.manifest import read_manifest
from core.page.contents import CheckView, MessageView, Transcript
from evaluation.bfcl.official_files import read_answers
from evaluation.heldout.page_view import dialogue_transcript
from evaluation.heldout.run import dialogue_path
from evaluation.metrics.scores import VARIED
from evaluation.reports.chat_view import chat_messages
from evaluation.reports.page_records import outcome, recorded_trials, transcript_key
from evaluation.reports.transcript_text import TextTranscript, read_transcript
from evaluation.tau2.recorded import recorded_trials as recorded_by_tau2
from evaluation.trials import TrialRecord

FAILED = "FAILED "
"""Begins the notes of a held-out transcript that name failed checks: "FAILED name: detail"."""

_OF_TASK = re.compile(r"task (\d+)$")

Chat = list[dict[str, Any]]
"""Messages in OpenAI's chat format."""


def transcripts(run: Path, chosen: Container[str] | None = None) -> Iterator[Transcript]:
    """A transcript of each trial, in the order of the records; without messages or text where nothing was kept of it.
    With `chosen`, only those with these keys (evaluation.reports.page_records.transcript_key).

    Raises UserError for a directory that is no run, and for records that cannot be read.
    """
    manifest = read_manifest(run)
    records = recorded_trials(run, manifest)
    conversations = _Conversations(run, records)
    for record in records:
        if chosen is None or transcript_key(record) in chosen:
            yield _transcript(run, record, conversations, manifest.config)


class _Conversations:
    """The conversations that BFCL and τ² record apart from transcripts, also those of passed trials. Those of one model
    and benchmark (of BFCL, also of one trial) are in memory at a time."""

    def __init__(self, run: Path, records: Sequence[TrialRecord]) -> None:
        self.run = run
        self.records = records
        self._source: tuple[str, str, int] | None = None
        self._by_key: dict[str, Chat] = {}

    def of(self, record: TrialRecord) -> Chat:
        """Empty if none was recorded."""
        source = (record.model, record.benchmark, record.trial if record.benchmark == "bfcl" else 0)
        if source != self._source:
            self._source = source
            self._by_key = self._read(record)
        return self._by_key.get(record.key, [])

    def _read(self, record: TrialRecord) -> dict[str, Chat]:
        directory = self.run / record.model / record.benchmark
        if record.benchmark == "bfcl":
            prefix, answers = record.key.removesuffix(f"{record.category}/{record.task_id}/{record.trial}"), {}
            for answer in read_answers(directory / f"trial-{record.trial}"):
                category = answer["id"].rsplit("_", 1)[0]
                answers[f"{prefix}{category}/{answer['id']}/{record.trial}"] = answer.get("messages") or []
            return answers
        if record.benchmark == "tau2":
            same = [r for r in self.records if (r.model, r.benchmark) == (record.model, record.benchmark)]
            return {key: _chat(trial["messages"]) for key, trial in recorded_by_tau2(same, directory).items()}
        return {}


def _chat(messages: Sequence[Mapping[str, Any]]) -> Chat:
    """Messages in the official format of τ², in OpenAI's."""
    chat: Chat = []
    for message in messages:
        calls = [
            {
                "id": call["id"],
                "function": {
                    "name": call["name"],
                    "arguments": json.dumps(call["arguments"], ensure_ascii=False),
                },
            }
            for call in message.get("tool_calls") or ()
        ]
        plain = {"role": message["role"], "content": message.get("content"), "tool_calls": calls}
        chat.append(plain | {"tool_call_id": message.get("id")} if message["role"] == "tool" else plain)
    return chat


def _transcript(run: Path, record: TrialRecord, conversations: _Conversations, config: Mapping[str, Any]) -> Transcript:
    text = _written(run, record)
    recorded = read_transcript(text) if text else TextTranscript((), ())
    checks = _failed_checks(recorded.notes)
    common: dict[str, Any] = {
        "key": transcript_key(record),
        "title": f"{record.task_id} · {record.model} · trial {record.trial}",
        "outcome": outcome(record),
        "reason": _reason(record, checks),
        "same_task": record.task,
        "facets": _facets(record),
    }
    path = dialogue_path(run / record.model / record.benchmark, record)
    if path.is_file():
        (dialogue,) = read_jsonl(path, Dialogue)
        return dialogue_transcript(dialogue, checks, config).model_copy(update=common)
    messages = _messages(conversations.of(record), recorded.messages, prefer_text=record.benchmark == "tau2")
    views = tuple(CheckView(name=check.name, passed=False, detail=check.detail) for check in checks)
    return Transcript(**common, checks=views, messages=messages, text="" if messages else text)


def _messages(
    conversation: Chat, written: Sequence[dict[str, Any]] | None, prefer_text: bool
) -> tuple[MessageView, ...]:
    """The messages of a trial; empty if they are not recorded, or not exactly. A text of τ² also has the reasoning, its
    recorded conversation has not; a text of BFCL is shortened."""
    sources = [written, conversation] if prefer_text else [conversation, written]
    return next((views for source in sources if source and (views := chat_messages(source))), ())


def _written(run: Path, record: TrialRecord) -> str:
    """The recorded text; "" if there is none."""
    path = run / record.transcript if record.transcript else None
    return path.read_text(encoding="utf-8") if path and path.is_file() else ""


def _failed_checks(notes: Sequence[str]) -> list[Check]:
    """The failed checks of a held-out trial; the notes of other benchmarks are one check in words."""
    first = next((number for number, note in enumerate(notes) if note.startswith(FAILED)), None)
    if first is None:
        is_heldout = any(note.startswith("task 0 (") for note in notes)  # passed, or not scored
        return (
            [Check(name="benchmark's check", passed=False, detail="\n".join(notes))] if notes and not is_heldout else []
        )
    checks: list[Check] = []
    for note in notes[first:]:
        if note.startswith(FAILED):
            name, _, detail = note.removeprefix(FAILED).partition(": ")
            number = _OF_TASK.search(name)
            checks.append(Check(name=name, passed=False, task=int(number[1]) if number else None, detail=detail))
        else:
            checks[-1] = checks[-1].model_copy(update={"detail": f"{checks[-1].detail}\n{note}"})
    return checks


def _reason(record: TrialRecord, checks: Sequence[Check]) -> str:
    """Why a trial did not pass, in one line of its checks."""
    if record.success:
        return ""
    if record.infrastructure_error:
        return record.infrastructure_error
    if record.blame:
        reason = (record.blame_reason or "").removeprefix(f"{record.blame}: ")
        return f"{record.blame}: {reason}"
    detail = checks[0].detail.partition("\n")[0] if checks else ""
    return f"{checks[0].name}: {detail}" if checks else record.stop_reason


def _facets(record: TrialRecord) -> dict[str, tuple[str, ...]]:
    facets = {
        "benchmark": record.benchmark,
        "category": record.category,
        "model": record.model,
        "outcome": outcome(record),
        "blame": record.blame,
        "stop reason": record.stop_reason,
        **{axis: value for axis, value in record.axes.items() if axis != VARIED},
    }
    return {name: (value,) for name, value in facets.items() if value}
