"""The judge compared with execution, the user simulator's quality gate, refused drafts and flaws, cost by role."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from core.page.contents import Filter, Table
from generation.llm.meter import bad_answers
from generation.metrics.statistics import RoleMetrics, Statistics
from generation.report.content import decimal, number, share, table
from generation.report.counts import Counts

_LONGEST_MESSAGE = 400
Rows = list[tuple[Sequence[str], Filter]]


def judge_tables(name: str, statistics: Statistics) -> Iterator[Table]:
    """The confusion matrix of one pipeline's judge, and what it caught and missed."""
    agreement = statistics.agreement
    if agreement is None:
        return
    a = agreement
    values = ", ".join(f"{label} {decimal(getattr(a, label))}" for label in ("precision", "recall", "kappa"))
    yield from table(
        f"{name}: judge and execution",
        ("", "execution accepts", "execution rejects"),
        [
            (("judge: valid", number(a.both_valid), number(a.judge_only)), {}),
            (("judge: invalid", number(a.execution_only), number(a.both_invalid)), {}),
        ],
        note=f"In dialogues that were executed and judged. The judge's {values}, with execution as the truth. "
        f"Unreadable judgments: {a.unreadable:,}; with differing votes: {a.divided:,}.",
    )
    yield from table(
        f"{name}: rejected by execution",
        ("blame", "judge rejects, too", "judge accepts", "caught"),
        (
            ((blame, number(caught), number(missed), share(caught, caught + missed)), _blamed(name, blame))
            for blame in sorted(a.caught.keys() | a.missed.keys())
            for caught, missed in [(a.caught.get(blame, 0), a.missed.get(blame, 0))]
        ),
    )
    yield from table(
        f"{name}: statements of the rubric, by the judge's class",
        ("class", "true", "false"),
        (
            ((kind, number(a.passed.get(kind, 0)), number(a.failed.get(kind, 0))), {})
            for kind in sorted(a.passed.keys() | a.failed.keys())
        ),
    )


def _blamed(name: str, blame: str) -> Filter:
    return {"pipeline": name, "outcome": "rejected", "blame": blame} if blame != "unknown" else {}


def user_tables(name: str, statistics: Statistics, counts: Counts) -> Iterator[Table]:
    """The faults of one pipeline's user simulator, each with its first example."""
    quality = statistics.quality
    if quality is None or not statistics.turn.max:
        return
    rows: Rows = []
    for kind, count in quality.counts.items():
        example = quality.examples.get(kind)
        text = counts.example_texts.get(kind, "")
        shown = text if len(text) <= _LONGEST_MESSAGE else f"{text[: _LONGEST_MESSAGE - 1]}…"
        where = f"{example.dialogue_id}, message {example.position}" if example else ""
        cells = (
            kind.replace("_", " "),
            number(count),
            f"{quality.shares[kind]:.1%}",
            example.detail if example else "",
        )
        rows.append(((*cells, shown, where), {"pipeline": name, "user fault": kind} if count else {}))
    (built,) = table(
        f"{name}: user simulator, quality gate {'passed' if quality.passed else 'not passed'}",
        ("fault", "dialogues", "share", "example", "its message", "where"),
        rows,
        note=f"In {quality.dialogues:,} accepted dialogues with {quality.messages:,} checked messages. Distinct first "
        f"messages: {quality.distinct_openings:.1%}.",
    )
    yield built.model_copy(update={"numeric": (1, 2)})


def draft_tables(name: str, statistics: Statistics) -> Iterator[Table]:
    """Refused task drafts and unusable answers of one pipeline."""
    yield from _counted(f"{name}: refused task drafts", "reason", statistics.refused_drafts)
    yield from _counted(
        f"{name}: flawed answers and injected faults",
        "role and kind",
        statistics.flaws,
        "In accepted and rejected ones.",
    )


def _counted(title: str, what: str, counts: Mapping[str, int], note: str = "") -> list[Table]:
    total = sum(counts.values())
    return table(
        title, (what, "number", "share"), (((k, number(n), share(n, total)), {}) for k, n in counts.items()), note=note
    )


def cost_tables(all_statistics: Sequence[Statistics]) -> list[Table]:
    """Requests, tokens and time by role, with a total of each pipeline."""
    rows: Rows = []
    for s in all_statistics:
        rows += [((s.pipeline, role, *_role(s, role, metrics)), {}) for role, metrics in s.roles.items()]
        name = f"all (cost {s.cost:,.2f})" if s.cost else "all"
        tokens = (number(s.prompt_tokens), "", number(s.completion_tokens))
        rows.append(((s.pipeline, name, "", number(s.requests), "", "", *tokens, "", decimal(s.gpu_hours, 2)), {}))
    return table(
        "Requests, tokens and time by role",
        (
            *("pipeline", "role", "model", "requests", "of these flawed", "retries"),
            *("prompt tokens", "cached", "generated tokens", "s/request", "GPU-hours"),
        ),
        rows,
        labels=3,
        note="Rejected and failed dialogues included, not attempts that were repeated. Seconds are waiting times.",
    )


def _role(s: Statistics, role: str, metrics: RoleMetrics) -> tuple[str, ...]:
    cached = share(metrics.cached_tokens, metrics.prompt_tokens) if metrics.prompt_tokens is not None else "–"
    return (
        metrics.llm or "",
        number(metrics.requests),
        bad_answers(s.flaws, role),
        number(metrics.retries),
        number(metrics.prompt_tokens),
        cached,
        number(metrics.completion_tokens),
        decimal(metrics.seconds / max(1, metrics.requests)),
        decimal(metrics.gpu_hours, 2),
    )
