"""Checks that BFCL, as we run it, scores its ground truth correctly: complete, and with every second answer wrong."""

from __future__ import annotations

from collections import defaultdict

from evaluation.bfcl.benchmark import Bfcl
from evaluation.bfcl.categories import SIZES, WEB_SEARCH
from evaluation.bfcl.disputed import DISPUTED, UNSATISFIABLE
from evaluation.known_answers.bfcl_disputes import find
from evaluation.known_answers.bfcl_model import task_number
from evaluation.known_answers.check import KnownSettings, Row, row, run_against
from evaluation.trials import Progress, TrialRecord

CATEGORIES = tuple(category for category in SIZES if category not in WEB_SEARCH)


def passes(name: str) -> bool:
    """Whether the ground truth passes the task."""
    return name not in UNSATISFIABLE


def passes_half(name: str) -> bool:
    """Whether the ground truth with every second answer wrong passes the task."""
    return passes(name) and task_number(name) % 2 == 0


def check(settings: KnownSettings, progress: Progress | None = None) -> list[Row]:
    """A row per category and kind of answers, a total with the wall-clock time per kind, and one of the disputed tasks.
    Never resumes."""
    rows = []
    benchmark = Bfcl(subset="full", categories=CATEGORIES)
    for answers, expected in (("bfcl", passes), ("bfcl-half", passes_half)):
        directory = settings.outputs / "known" / answers
        records, seconds = run_against(answers, lambda _: benchmark, directory, settings, progress)
        kind = "ground truth" if answers == "bfcl" else "every second wrong"
        categories: dict[str, list[TrialRecord]] = defaultdict(list)
        for record in records:
            categories[record.category].append(record)
        rows += [
            row("bfcl", category, kind, categories[category], SIZES[category], expected) for category in CATEGORIES
        ]
        rows.append(row("bfcl", "all", kind, records, sum(SIZES[name] for name in CATEGORIES), expected, seconds))
    return [*rows, disputes()]


def disputes() -> Row:
    """Whether the list of disputed tasks is what the official data says."""
    found = find()
    listed = {task: reason for task, reason in DISPUTED.items() if task not in UNSATISFIABLE}
    return Row(
        benchmark="bfcl",
        category="disputed",
        answers="derived from the data",
        tasks=len(found),
        passed=sum(listed.get(task) == reason for task, reason in found.items()),
        expected=len(listed),
        holds=found == listed,
    )
