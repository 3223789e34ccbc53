"""The funnel from started to accepted dialogues, and the reasons of rejections with their blame."""

from __future__ import annotations

from collections.abc import Iterator

from core.page.contents import Filter, Table
from generation.report.content import number, share, table
from generation.report.counts import Counts

_CHECKS = (
    "start",
    "finished",
    "contract",
    "state",
    "told",
    "asked",
    "declined",
    "looked",
    "no_call",
    "policy",
    "replay",
)
"""In the order in which validation checks a dialogue; the judge comes last."""


def rejection_tables(name: str, counts: Counts) -> Iterator[Table]:
    """Tables of one pipeline."""
    yield from table(
        f"{name}: from started to accepted",
        ("step", "dialogues", "left", "of the started"),
        _funnel(name, counts),
        note="A dialogue leaves at its first reason.",
    )
    started = counts.status.total()
    yield from table(
        f"{name}: reasons of rejections, by blame",
        ("reason", "blame", "dialogues", "of the started", "for this reason alone"),
        (
            (
                (kind, blame or "not known", number(count), share(count, started), number(counts.alone[kind, blame])),
                {"pipeline": name, "reason": kind, **({"blame": blame} if blame else {})},
            )
            for (kind, blame), count in sorted(counts.reasons.items(), key=lambda item: (-item[1], item[0]))
        ),
        labels=2,
        note="A dialogue with several reasons is counted for each of them.",
    )


def _funnel(name: str, counts: Counts) -> Iterator[tuple[tuple[str, str, str, str], Filter]]:
    left = started = counts.status.total()
    yield ("started", number(started), number(left), share(left, started)), {"pipeline": name}
    if failed := counts.status["failed"]:
        left -= failed
        chosen = {"pipeline": name, "outcome": "failed"}
        yield ("failed", f"−{failed:,}", number(left), share(left, started)), chosen
    for kind in sorted(counts.first, key=_place):
        left -= counts.first[kind]
        chosen = {"pipeline": name, "first reason": kind, "outcome": "rejected"}
        yield (f"rejected: {kind}", f"−{counts.first[kind]:,}", number(left), share(left, started)), chosen
    if other := counts.status["rejected"] - counts.first.total():
        left -= other
        yield ("rejected, reason not known", f"−{other:,}", number(left), share(left, started)), {}
    yield (
        ("accepted", number(counts.status["accepted"]), number(left), share(left, started)),
        {"pipeline": name, "outcome": "accepted"},
    )


def _place(kind: str) -> tuple[int, str]:
    check = kind.partition(":")[0]
    return (_CHECKS.index(check) if check in _CHECKS else len(_CHECKS)), kind
