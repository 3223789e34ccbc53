"""Does BFCL, as we run it, pass exactly what it must? Its ground truth is replayed, whole and with every second answer wrong."""

from __future__ import annotations

import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from evaluation.bfcl.benchmark import BfclSettings, run
from evaluation.bfcl.categories import MEMORY, SIZES, WEB_SEARCH
from evaluation.known_answers.bfcl_model import UNSATISFIABLE, number
from evaluation.known_answers.check import KnownSettings, Row, known_answers
from evaluation.trials import Progress, TrialRecord

CATEGORIES = tuple(category for category in SIZES if category not in (*WEB_SEARCH, MEMORY[-1]))


def passes(name: str) -> bool:
    return name not in UNSATISFIABLE


def passes_half(name: str) -> bool:
    return passes(name) and number(name) % 2 == 0


def check(settings: KnownSettings, progress: Progress | None = None) -> list[Row]:
    """A row for each category and kind of answers, and one with the wall-clock for each kind. Runs anew every time."""
    rows = []
    for answers, expected in (("bfcl", passes), ("bfcl-half", passes_half)):
        directory = settings.outputs / "known" / answers
        shutil.rmtree(directory, ignore_errors=True)
        with known_answers(answers, directory / "server.log", settings.concurrency) as endpoint:
            began = time.monotonic()
            records = run(endpoint, BfclSettings(subset="full", categories=CATEGORIES), directory, 1, progress)
            seconds = time.monotonic() - began
        kind = "ground truth" if answers == "bfcl" else "every second wrong"
        categories: dict[str, list[TrialRecord]] = defaultdict(list)
        for record in records:
            categories[record.category].append(record)
        rows += [row(category, kind, categories[category], SIZES[category], expected) for category in CATEGORIES]
        rows.append(row("all", kind, records, sum(SIZES[name] for name in CATEGORIES), expected, seconds))
    return rows


def row(
    category: str,
    answers: str,
    records: Sequence[TrialRecord],
    size: int,
    expected: Callable[[str], bool],
    seconds: float | None = None,
) -> Row:
    """Holds if there are `size` records and each passed if and only if it is expected to."""
    return Row(
        benchmark="bfcl",
        category=category,
        answers=answers,
        tasks=len(records),
        passed=sum(record.success is True for record in records),
        expected=sum(expected(record.task_id) for record in records),
        holds=len(records) == size and all(record.success is expected(record.task_id) for record in records),
        seconds=seconds,
    )
