"""The official package's files in a trial's directory: answers in result/, what was wrong in score/."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class AnswerCounter:
    """Counts the answers in the result files below `root`, without prerequisites; reads every byte once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._counted: dict[Path, tuple[int, int]] = {}

    def __call__(self) -> int:
        for path in self._root.rglob("*_result.json"):
            size = path.stat().st_size
            read, count = self._counted.get(path, (0, 0))
            if size < read:  # rewritten without its infrastructure errors
                read, count = 0, 0
            if "_prereq_" not in path.name and size > read:
                with path.open("rb") as file:
                    file.seek(read)
                    chunk = file.read(size - read)
                self._counted[path] = read + len(chunk), count + chunk.count(b"\n")
        return sum(count for _, count in self._counted.values())


def read_scores(root: Path) -> dict[str, dict[str, Any]]:
    """The official score files by task: they list only what was wrong."""
    return {line["id"]: line for line in _read_lines(root / "score", "*_score.json") if "id" in line}


def read_answers(root: Path) -> Iterable[dict[str, Any]]:
    return (answer for answer in _read_lines(root / "result", "*_result.json") if "_prereq_" not in answer["id"])


def _read_lines(root: Path, pattern: str) -> Iterable[dict[str, Any]]:
    """The JSON lines of matching files. Not by splitlines: texts in the official score files may contain other line
    separators."""
    for path in sorted(root.rglob(pattern)):
        yield from (json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line)


def failure_of(answer: dict[str, Any]) -> str | None:
    """ "context_length", "infrastructure", or None for an answer that can be scored.

    An unforeseen exception, which the official code catches and stores, is "infrastructure" too.
    """
    return answer.get("failure") or ("infrastructure" if "traceback" in answer else None)
