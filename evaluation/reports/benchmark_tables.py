"""Tables 2 and 3, and one of our own for the held-out benchmark: made from the records of evaluation runs."""

from __future__ import annotations

from collections.abc import Sequence

from evaluation.bfcl.categories import aggregate
from evaluation.metrics.pass_at_k import pass_1_by_category, summarize
from evaluation.metrics.scores import DATABASE, by_axis
from evaluation.reports.evaluations import Evaluated, Model
from evaluation.reports.paper import TABLE_2, TABLE_2_COLUMNS, TABLE_3
from evaluation.reports.paper_table import PaperTable, cell, interval, percent
from evaluation.tau2.do_nothing import do_nothing
from evaluation.trials import TrialRecord

BFCL_GROUPS = ("multi_turn", "live", "non_live", "relevance", "irrelevance")
"""The first columns of Table 2 in the names of BFCL's aggregates; τ²'s domains follow."""
TAU2_DOMAINS = TABLE_2_COLUMNS[len(BFCL_GROUPS) :]
OWN_COLUMNS = ("unseen", "trained", "valid")
OWN_NOTE = (
    "unseen, trained: held-out on unseen and on trained databases; valid: share of its calls that fit their tools"
)
EXECUTED = frozenset({"user_oriented_exec", "user_oriented_tau2"})
"""The pipelines whose tools are executed."""


def table_2(evaluations: Sequence[Evaluated]) -> PaperTable:
    """Pass@1 in %; ours with the held-out scores and the share of valid calls, and what doing nothing scores in τ²."""
    rows = [(name, *map(cell, values), *("–" for _ in OWN_COLUMNS)) for name, values in TABLE_2]
    for each in evaluations:
        rows += [_row_2(each, model) for model in each.models]
        rows += _nothing(each)
    return PaperTable(
        name="table_2",
        title="Table 2 · benchmarks, Pass@1 in %",
        columns=("model", *TABLE_2_COLUMNS, *OWN_COLUMNS),
        rows=tuple(rows),
        notes=(*((OWN_NOTE,) if evaluations else ()), *_notes(evaluations)),
    )


def _row_2(each: Evaluated, model: Model) -> tuple[str, ...]:
    bfcl, tau2 = aggregate(model.of("bfcl")), pass_1_by_category(model.of("tau2"))
    heldout = pass_1_by_category(model.of("heldout"))
    figures = (
        *(bfcl[group] for group in BFCL_GROUPS),
        *(tau2.get(domain) for domain in TAU2_DOMAINS),
        *(heldout.get(databases) for databases in ("unseen_databases", "trained_databases")),
        summarize(model.of("heldout"), ()).valid_call_rate,
    )
    return (_ours(each, model), *map(percent, figures))


def _nothing(each: Evaluated) -> list[tuple[str, ...]]:
    """An agent that does nothing, on the same τ² tasks."""
    held = [record for record in each.records if record.benchmark == "tau2"]
    if not held:
        return []
    shares = do_nothing(held)
    tau2 = [percent(shares.get(domain)) for domain in TAU2_DOMAINS]
    return [(f"doing nothing [{each.number}]", *("–" for _ in BFCL_GROUPS), *tau2, *("–" for _ in OWN_COLUMNS))]


def table_3(evaluations: Sequence[Evaluated]) -> PaperTable:
    """The pipeline ablation: the paper's models and ours, by what they were trained on."""
    rows: list[tuple[str, ...]] = []
    for pipeline, papers in TABLE_3.items():
        rows += [(pipeline, f"{name} (paper)", cell(mt), cell(telecom)) for name, mt, telecom in papers]
        for each in evaluations:
            for model in each.models:
                if pipeline_of(model.mixture) == pipeline:
                    scores = (
                        aggregate(model.of("bfcl"))["multi_turn"],
                        pass_1_by_category(model.of("tau2")).get("telecom"),
                    )
                    rows.append((pipeline, _ours(each, model), *map(percent, scores)))
    missing = [name for name in TABLE_3 if not any(row[0] == name and "(ours)" in row[1] for row in rows)]
    notes = [f"no model of ours was trained on: {', '.join(missing)}"] if missing else []
    return PaperTable(
        name="table_3",
        title="Table 3 · pipeline ablation, Pass@1 in %",
        columns=("pipeline", "model", "BFCL multi-turn", "τ² telecom"),
        rows=tuple(rows),
        notes=(*notes, *_notes(evaluations)),
    )


def pipeline_of(mixture: Sequence[str]) -> str | None:
    """The row of Table 3 for a model trained on these pipelines: the richest of the user-oriented ones, since those build on one
    another; None for any other mixture, and where the training is not known."""
    task_oriented, user_oriented, executed = TABLE_3
    trained_on = set(mixture)
    if trained_on == {"task_oriented"}:
        return task_oriented
    if trained_on == {"user_oriented"}:
        return user_oriented
    return executed if trained_on & EXECUTED and trained_on <= {"user_oriented", *EXECUTED} else None


def heldout_table(evaluations: Sequence[Evaluated]) -> PaperTable | None:
    """The held-out benchmark by axis: each value with the other axes at their base; None where none was varied."""
    rows = [
        row
        for each in evaluations
        for model in each.models
        for axis, groups in by_axis(model.of("heldout")).items()
        if axis != DATABASE  # many rows of few tasks: the run's summary has them
        for (databases, value), trials in groups.items()
        for row in [_row_heldout(f"{axis} {value}", databases, _ours(each, model), trials)]
    ]
    if not rows:
        return None
    return PaperTable(
        name="heldout",
        title="Held-out · what makes it harder, in % with 95 % intervals",
        columns=("condition", "databases", "model", "tasks", "Pass@1", "n", "Pass^n"),
        rows=tuple(rows),
        notes=_notes(evaluations),
    )


def _row_heldout(condition: str, databases: str, model: str, trials: Sequence[TrialRecord]) -> tuple[str, ...]:
    """Pass@1, and Pass^n for as many trials as there are."""
    n = max(record.trial for record in trials) + 1
    summary = summarize(trials, (1, n))
    figures = (interval(summary.pass_at[1]), str(n), interval(summary.pass_hat[n]))
    return (condition, databases.removesuffix("_databases"), model, str(summary.tasks), *figures)


def _ours(each: Evaluated, model: Model) -> str:
    return f"**{model.name} (ours)** {each.mark(model)}"


def _notes(evaluations: Sequence[Evaluated]) -> tuple[str, ...]:
    return tuple(f"[{each.number}] {caveat}" for each in evaluations for caveat in each.caveats())
