"""Why the official BFCL checker refused a trial, in words for its transcript."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

LONGEST = 4000
"""Characters of one text; what is longer (a simulated file system, say) is cut and says so."""


def reasons(answer: Mapping[str, Any], verdict: Mapping[str, Any]) -> list[str]:
    """`answer` is the trial's line among the official results, `verdict` its line among the scores, empty without one."""
    return [_cut(line) for line in _reasons(answer, verdict) if line]


def _reasons(answer: Mapping[str, Any], verdict: Mapping[str, Any]) -> Iterator[str]:
    error = verdict.get("error", answer["result"] if "failure" in answer else "no reason was given")
    if isinstance(error, dict):
        yield f"refused: {error.get('error_type')}"
        yield _plain(error.get("error_message", ""))
        known = ("error_type", "error_message", "valid")
        yield from (f"{key}: {_plain(value)}" for key, value in error.items() if key not in known)
    else:
        yield f"refused: {verdict.get('error_type') or answer.get('failure')}"
        yield from (map(_plain, error) if isinstance(error, list) else [_plain(error)])
    if "possible_answer" in verdict:
        yield f"expected: {_plain(verdict['possible_answer'])}"


def readable(message: Mapping[str, Any]) -> dict[str, Any]:
    """The message with its long texts cut."""
    content = message.get("content")
    return {**message, "content": _cut(content) if isinstance(content, str) else content}


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} … ({len(text) - LONGEST} more characters)"
