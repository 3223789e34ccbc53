"""Reads the text transcripts that evaluation.transcripts writes: the notes, and the messages where that is exact."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_MESSAGE = re.compile(r"\n\n--- (system|user|assistant|tool|tool of the user)(?=\n)")
_CALL = re.compile(r"-> ([^\s()]+)\((.*)\)")
_THOUGHT = "(thinking) "
_HEAD_LINES = 2


@dataclass(frozen=True)
class TextTranscript:
    """`notes` state the task and why the trial failed. `messages` are in OpenAI's chat format; None if the text can be
    read in several ways."""

    notes: tuple[str, ...]
    messages: tuple[dict[str, Any], ...] | None


def read_transcript(text: str) -> TextTranscript:
    """The parts of a transcript. Only a line break separates a thought from what follows it: messages are None if a
    thought has several lines or precedes an answer, and if a call stands in the middle of a text."""
    head, *parts = _MESSAGE.split(text.removesuffix("\n"))
    notes = [line for line in head.split("\n")[_HEAD_LINES:] if line and not line.startswith("to blame: ")]
    messages = [_message(role, body.removeprefix("\n")) for role, body in zip(parts[::2], parts[1::2], strict=True)]
    whole = [message for message in messages if message is not None]
    exact = len(whole) == len(messages) and _pair(whole)
    return TextTranscript(tuple(notes), tuple(whole) if exact else None)


def _message(role: str, body: str) -> dict[str, Any] | None:
    """None for a body that can be read in several ways."""
    if role.startswith("tool"):
        return {"role": "tool", "content": body}
    lines = body.split("\n") if body else []
    calls: list[dict[str, Any]] = []
    while lines and (call := _call(lines[-1])):
        calls.insert(0, call)
        lines.pop()
    if any(line.startswith("-> ") for line in lines):
        return None
    thought = None
    if lines and lines[0].startswith(_THOUGHT):
        if len(lines) > 1:
            return None
        thought = lines.pop().removeprefix(_THOUGHT)
    return {"role": role, "content": "\n".join(lines), "reasoning_content": thought, "tool_calls": calls}


def _call(line: str) -> dict[str, Any] | None:
    found = _CALL.fullmatch(line)
    if not found:
        return None
    try:
        json.loads(found[2])
    except ValueError:
        return None
    return {"function": {"name": found[1], "arguments": found[2]}}


def _pair(messages: Sequence[dict[str, Any]]) -> bool:
    """Give each call an id and each result that of its call, in order; False if their numbers differ. Only the calls at
    the end may have no results."""
    position = 0
    while position < len(messages):
        message = messages[position]
        if message["role"] == "tool":
            return False
        calls = message["tool_calls"]
        following = messages[position + 1 : position + 1 + len(calls)]
        results = [other for other in following if other["role"] == "tool"]
        if len(results) != len(calls) and position + 1 + len(results) < len(messages):
            return False
        for number, call in enumerate(calls):
            call["id"] = f"{position}.{number}"
        for call, result in zip(calls, results, strict=False):
            result["tool_call_id"] = call["id"]
        position += 1 + len(results)
    return True
