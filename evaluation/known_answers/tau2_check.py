"""Does τ²-bench, as we run it, pass exactly what it must? Gold actions pass all of the base sets, doing nothing what is known."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable

from evaluation.known_answers.check import KnownSettings, Row, known_answers
from evaluation.tau2.benchmark import run
from evaluation.tau2.do_nothing import DO_NOTHING
from evaluation.tau2.settings import Tau2Settings
from evaluation.tau2.tasks import DOMAINS, tasks
from evaluation.trials import Progress

STEPS = 100
"""Requests that the longest gold dialogue needs, and more."""


def by_gold_actions(domain: str, task: str) -> bool:
    return True


def by_doing_nothing(domain: str, task: str) -> bool:
    return task in DO_NOTHING["inspect-evals"][domain]


def check(settings: KnownSettings, progress: Progress | None = None) -> list[Row]:
    """A row for each domain and kind of answers. Runs anew every time."""
    return [
        *_rows("tau2", "gold actions", by_gold_actions, settings, progress),
        *_rows("tau2-nothing", "nothing", by_doing_nothing, settings, progress),
    ]


def _rows(
    answers: str, kind: str, expected: Callable[[str, str], bool], settings: KnownSettings, progress: Progress | None
) -> list[Row]:
    rows = []
    for domain in DOMAINS:
        directory = settings.outputs / "known" / answers / domain
        shutil.rmtree(directory, ignore_errors=True)
        with known_answers(answers, directory / "server.log", settings.concurrency) as endpoint:
            began = time.monotonic()
            chosen = Tau2Settings(subset="full", domains=(domain,), max_steps=STEPS)
            records = run(endpoint, chosen, directory, 1, progress)
            seconds = time.monotonic() - began
        right = [record.success is expected(domain, record.task_id) for record in records]
        rows.append(
            Row(
                benchmark="tau2",
                category=domain,
                answers=kind,
                tasks=len(records),
                passed=sum(record.success is True for record in records),
                expected=sum(expected(domain, task) for task in tasks(domain)),
                holds=len(records) == len(tasks(domain)) and all(right),
                seconds=seconds,
            )
        )
    return rows
