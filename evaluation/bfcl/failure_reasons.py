"""The official BFCL checker's reasons for a failed trial, as lines of its transcript."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

MAX_CHARACTERS = 4000
"""Longer texts (a simulated file system, for example) are cut with a note."""


def failure_reasons(answer: Mapping[str, Any], score: Mapping[str, Any]) -> list[str]:
    """`answer` is the trial's line in the official results; `score` its line in the official scores, empty if it has
    none."""
    return [_cut(line) for line in _reasons(answer, score) if line]


def _reasons(answer: Mapping[str, Any], score: Mapping[str, Any]) -> Iterator[str]:
    error = score.get("error", answer["result"] if "failure" in answer else "no reason was given")
    if isinstance(error, dict):
        yield f"refused: {error.get('error_type')}"
        yield _plain(error.get("error_message", ""))
        shown = ("error_type", "error_message", "valid")
        yield from (f"{key}: {_plain(value)}" for key, value in error.items() if key not in shown)
    else:
        yield f"refused: {score.get('error_type') or answer.get('failure')}"
        yield from (map(_plain, error) if isinstance(error, list) else [_plain(error)])
    if "possible_answer" in score:
        yield f"expected: {_plain(score['possible_answer'])}"


def truncated(message: Mapping[str, Any]) -> dict[str, Any]:
    """The message with a long content cut."""
    content = message.get("content")
    return {**message, "content": _cut(content) if isinstance(content, str) else content}


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cut(text: str) -> str:
    omitted = len(text) - MAX_CHARACTERS
    return text if omitted <= 0 else f"{text[:MAX_CHARACTERS]} … ({omitted} more characters)"
