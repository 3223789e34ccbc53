"""Checks that τ²-bench, as we run it, passes the right tasks: all with gold actions, some by doing nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from evaluation.endpoint import Endpoint
from evaluation.known_answers.check import KnownSettings, Row, row, run_against
from evaluation.tau2.benchmark import Tau2
from evaluation.tau2.do_nothing import DO_NOTHING
from evaluation.tau2.tasks import DOMAINS, tasks
from evaluation.trials import Progress

STEPS = 100
"""Requests per dialogue: more than the longest gold dialogue needs."""


def by_gold_actions(domain: str, task: str) -> bool:
    return True


def by_doing_nothing(domain: str, task: str) -> bool:
    return task in DO_NOTHING["inspect-evals"][domain]


def check(settings: KnownSettings, progress: Progress | None = None) -> list[Row]:
    """A row per domain and kind of answers. Never resumes."""
    return [
        *_rows("tau2", "gold actions", by_gold_actions, settings, progress),
        *_rows("tau2-nothing", "nothing", by_doing_nothing, settings, progress),
    ]


def _with_user(domain: str, user: Endpoint) -> Tau2:
    return Tau2(subset="full", domains=(domain,), max_steps=STEPS, user=user)


def _rows(
    answers: str, kind: str, expected: Callable[[str, str], bool], settings: KnownSettings, progress: Progress | None
) -> list[Row]:
    rows = []
    for domain in DOMAINS:
        benchmark = partial(_with_user, domain)
        directory = settings.outputs / "known" / answers / domain
        records, seconds = run_against(answers, benchmark, directory, settings, progress)
        size = len(tasks(domain))
        rows.append(row("tau2", domain, kind, records, size, partial(expected, domain), seconds))
    return rows
