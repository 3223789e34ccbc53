"""Checks that τ²-bench, as we run it, passes the right tasks: all with gold actions, some by doing nothing.

Telecom's users have tools of their own. There the scripted customer also plays the user itself: agents that name the
gold steps pass all tasks with it, and agents that greet or are vague none, because it takes no step by itself.
"""

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


def by_no_agent(domain: str, task: str) -> bool:
    return False


def check(settings: KnownSettings, progress: Progress | None = None) -> list[Row]:
    """A row per domain and kind of answers. Never resumes."""
    return [
        *_rows("tau2", "gold actions", by_gold_actions, settings, progress),
        *_rows("tau2-nothing", "nothing", by_doing_nothing, settings, progress),
        *_rows("tau2-guide", "gold steps told the customer", by_gold_actions, settings, progress, customer=True),
        *_rows("tau2-vague", "no step told the customer", by_no_agent, settings, progress, customer=True),
        *_rows("tau2-greet", "a greeting for the customer", by_no_agent, settings, progress, customer=True),
    ]


def _benchmark(domain: str, customer: bool, agent: Endpoint) -> Tau2:
    return Tau2(subset="full", domains=(domain,), max_steps=STEPS, user=None if customer else agent)


def _rows(
    answers: str,
    kind: str,
    expected: Callable[[str, str], bool],
    settings: KnownSettings,
    progress: Progress | None,
    customer: bool = False,
) -> list[Row]:
    """With the `customer` only telecom, whose users have tools; else the known answers play both sides."""
    rows = []
    for domain in ("telecom",) if customer else DOMAINS:
        benchmark = partial(_benchmark, domain, customer)
        directory = settings.outputs / "known" / answers / domain
        records, seconds = run_against(answers, benchmark, directory, settings, progress)
        size = len(tasks(domain))
        rows.append(row("tau2", domain, kind, records, size, partial(expected, domain), seconds))
    return rows
