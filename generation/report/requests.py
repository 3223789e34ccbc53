"""What was asked for and what came, by kind of request, difficulty and domain; the tasks of a dialogue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from core.page.contents import Table
from generation.metrics.statistics import Statistics
from generation.report.content import decimal, number, share, table
from generation.report.counts import Counts

_ORDER = ("easy", "medium", "hard")


def request_tables(name: str, statistics: Statistics | None, counts: Counts) -> Iterator[Table]:
    """Tables of one pipeline."""
    if statistics:
        yield from table(
            f"{name}: by kind of request",
            ("kind", "asked", "written", "accepted", "accepted of written", "judge agrees"),
            (
                (
                    (
                        kind,
                        *map(number, (metrics.asked, metrics.written, metrics.accepted)),
                        share(metrics.accepted, metrics.written),
                        share(metrics.agreed, metrics.judged),
                    ),
                    {"pipeline": name, "kind": kind},
                )
                for kind, metrics in statistics.kinds.items()
            ),
            note="In tasks. A request that cannot be written as asked becomes a plain one, so more plain requests are "
            "written than asked for. An accepted task is a task of an accepted dialogue.",
        )
        yield from table(
            f"{name}: evidence of accepted tasks",
            ("rows asked for at least", "tasks", "rows", "look-ups"),
            (
                ((wanted or "not asked", number(e.tasks), decimal(e.rows, 2), decimal(e.lookups, 2)), {})
                for wanted, e in statistics.evidence.items()
            ),
            note="Rows among which the task's decisions choose, and look-ups that they need: means.",
        )
    yield from table(
        f"{name}: by difficulty",
        ("difficulty", "asked", "written", "accepted"),
        (
            (
                (level, *(number(counts.difficulties[level][column]) for column in ("asked", "written", "accepted"))),
                {"pipeline": name, "difficulty": level},
            )
            for level in sorted(counts.difficulties, key=_place)
        ),
        note="In tasks; the difficulty of a written task is measured.",
    )
    yield from table(
        f"{name}: by domain",
        ("domain", "started", "accepted", "rejected", "failed", "accepted of started"),
        (
            (
                (
                    domain or "none",
                    number(statuses.total()),
                    *(number(statuses[status]) for status in ("accepted", "rejected", "failed")),
                    share(statuses["accepted"], statuses.total()),
                ),
                {"pipeline": name, "domain": domain},
            )
            for domain, statuses in sorted(counts.domains.items())
        ),
        note="In dialogues.",
    )


def _place(difficulty: str) -> tuple[int, str]:
    return (_ORDER.index(difficulty) if difficulty in _ORDER else len(_ORDER)), difficulty


def task_tables(name: str, statistics: Statistics) -> Iterator[Table]:
    """Of one pipeline's accepted dialogues: tasks requested and written, difficulties requested and measured,
    dependency, follow-ups and parallel calls."""
    actual = sorted({count for dialogues in statistics.tasks.values() for count in dialogues})
    yield from table(
        f"{name}: tasks per dialogue, requested and actual",
        ("requested", *(f"{count} actual" for count in actual)),
        (
            (
                (str(requested), *(number(dialogues.get(count, 0)) for count in actual)),
                {"pipeline": name, "tasks requested": str(requested), "outcome": "accepted"},
            )
            for requested, dialogues in statistics.tasks.items()
        ),
        note="In accepted dialogues.",
    )
    levels = [level for level in _ORDER if any(level in measured for measured in statistics.difficulties.values())]
    yield from table(
        f"{name}: difficulty of plain tasks, requested and measured",
        ("requested", *(f"{level} measured" for level in levels)),
        (
            ((requested, *(number(measured.get(level, 0)) for level in levels)), {})
            for requested, measured in sorted(statistics.difficulties.items(), key=lambda item: _place(item[0]))
        ),
        note='In accepted tasks; "given" tasks were imported.',
    )
    yield from table(
        f"{name}: dependency on earlier tasks",
        ("tasks", "pairs", "mean score", "with any value"),
        (((label, *_flow(getattr(statistics.dependency, field))), {}) for field, label in _FLOWS.items())
        if statistics.dependency and statistics.dependency.all.pairs
        else (),
        note="The score of a task is the share of its calls' values that first appeared in results of earlier tasks.",
    )
    counts: list[tuple[str, str]] = [(f"follow-ups: {what}", number(n)) for what, n in statistics.follow_ups.items()]
    if p := statistics.parallel:
        counts += [
            ("assistant messages with calls", number(p.messages)),
            ("with several calls", f"{number(p.several)} ({p.share:.1%})"),
            ("groups of independent look-ups", number(p.eligible)),
            ("of these merged into one message", number(p.merged)),
        ]
    filters = {"with several calls": {"pipeline": name, "parallel calls": "yes"}}
    yield from table(
        f"{name}: follow-ups and parallel calls",
        ("what", "number"),
        ((pair, filters.get(pair[0], {})) for pair in counts),
    )


_FLOWS = {
    "all": "all but the first",
    "follow_ups": "written as follow-ups",
    "independent": "others",
    "random": "after another dialogue (chance)",
}


def _flow(flow: Any) -> tuple[str, str, str]:
    positive = "–" if flow.positive is None else f"{flow.positive:.1%}"
    return number(flow.pairs), decimal(flow.mean), positive
