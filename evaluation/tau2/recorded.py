"""Recorded τ² trials in the official format, as the official evaluator reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.trials import TrialRecord

DIALOGUES = "dialogues.jsonl"
"""File of the inspect backend with every trial's dialogue: {"trial": its key, "trajectory"}."""
USER_STOPS = ("stop", "transfer", "out_of_scope")
"""Stop reasons of dialogues that the user ended; officially only these, and "agent_stop", are scored."""
_TERMINATIONS = {**dict.fromkeys(USER_STOPS, "user_stop"), "unfinished": "max_steps", "context_length": "agent_error"}


def recorded_trials(records: Sequence[TrialRecord], directory: Path) -> dict[str, dict[str, Any]]:
    """The recorded trials of a benchmark's directory by their keys, as evaluation.tau2.official_worker.grade takes
    them. Trials without a recorded dialogue, and those with an infrastructure error, are missing."""
    messages = dict(_of_inspect(directory / DIALOGUES) if (directory / DIALOGUES).is_file() else _official(directory))
    return {
        record.key: {
            "key": record.key,
            "domain": record.category,
            "task_id": record.task_id,
            "termination_reason": _TERMINATIONS.get(record.stop_reason, record.stop_reason),
            "messages": messages[record.key],
        }
        for record in records
        if record.success is not None and record.key in messages
    }


def _of_inspect(path: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """(key, messages) of each trial; a trial that was retried has several lines, of which the last counts."""
    with path.open(encoding="utf-8") as file:
        for line in map(json.loads, file):
            yield line["trial"], official_messages(line["trajectory"])


def _official(directory: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for path in sorted(directory.glob("official/*/simulations/*.json")):
        simulation = json.loads(path.read_text(encoding="utf-8"))
        yield f"tau2/{path.parts[-3]}/{simulation['task_id']}/{simulation['trial']}", simulation["messages"]


def official_messages(trajectory: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """inspect's trajectory in the official format. Calls whose arguments could not be read were never executed: they
    are left out, and so are their results."""
    messages: list[dict[str, Any]] = []
    unread: set[str] = set()
    for turn in trajectory:
        side, message = turn["role"], turn["message"]
        if message["role"] == "tool":
            if message.get("tool_call_id") not in unread:
                messages.append(_result(side, message))
            continue
        calls = message.get("tool_calls") or []
        unread = {call["id"] for call in calls if call.get("parse_error")}
        executed = [_call(side, call) for call in calls if not call.get("parse_error")]
        messages.append({"role": side, "content": _text(message["content"]), "tool_calls": executed or None})
    return messages


def _call(side: str, call: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": call["id"], "name": call["function"], "arguments": call["arguments"], "requestor": side}


def _result(side: str, message: Mapping[str, Any]) -> dict[str, Any]:
    error = (message.get("error") or {}).get("message")
    content = f"Error: {error}" if error else _text(message["content"])
    return {"role": "tool", "id": message["tool_call_id"], "content": content, "requestor": side, "error": bool(error)}


def _text(content: str | list[Mapping[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part["type"] == "text")
