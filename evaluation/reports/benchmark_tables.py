"""Tables 2 and 3, and a table for the held-out benchmark, from the records of evaluation runs."""

from __future__ import annotations

from collections.abc import Sequence

from evaluation.bfcl.categories import aggregate
from evaluation.bfcl.disputed import DISPUTED
from evaluation.metrics.pass_at_k import pass_1_by_category, summarize
from evaluation.metrics.scores import DATABASE, by_axis
from evaluation.reports.evaluations import EvaluatedModel, Evaluation
from evaluation.reports.paper import TABLE_2, TABLE_2_COLUMNS, TABLE_3
from evaluation.reports.paper_table import PaperTable, cell, interval, percent
from evaluation.tau2.do_nothing import do_nothing
from evaluation.trials import TrialRecord

BFCL_GROUPS = ("multi_turn", "live", "non_live", "relevance", "irrelevance")
"""BFCL's aggregates in the first columns of Table 2; τ²'s domains follow."""
TAU2_DOMAINS = TABLE_2_COLUMNS[len(BFCL_GROUPS) :]
EXTRA_COLUMNS = ("unseen", "trained", "valid")
EXTRA_NOTE = (
    "unseen, trained: held-out on unseen and on trained databases; "
    "valid: share of the held-out calls that fit their tools"
)
EXECUTED = frozenset({"user_oriented_exec", "user_oriented_tau2"})
"""Pipelines with executable tools."""


def table_2(evaluations: Sequence[Evaluation]) -> PaperTable:
    """Pass@1 in %. The rows of evaluated models add the held-out scores and the share of valid calls, and a second row
    for the undisputed tasks of BFCL; each run has a row for doing nothing in τ²."""
    rows = [(name, *map(cell, values), *("–" for _ in EXTRA_COLUMNS)) for name, values in TABLE_2]
    for evaluation in evaluations:
        for model in evaluation.models:
            rows += [_row_2(evaluation, model), *_undisputed_row(evaluation, model)]
        rows += _do_nothing_rows(evaluation)
    return PaperTable(
        name="table_2",
        title="Table 2 · benchmarks, Pass@1 in %",
        columns=("model", *TABLE_2_COLUMNS, *EXTRA_COLUMNS),
        rows=tuple(rows),
        notes=(*((EXTRA_NOTE,) if evaluations else ()), *_notes(evaluations)),
    )


def _row_2(evaluation: Evaluation, model: EvaluatedModel) -> tuple[str, ...]:
    bfcl, tau2 = aggregate(model.records_of("bfcl")), pass_1_by_category(model.records_of("tau2"))
    heldout = pass_1_by_category(model.records_of("heldout"))
    shares = (
        *(bfcl[group] for group in BFCL_GROUPS),
        *(tau2.get(domain) for domain in TAU2_DOMAINS),
        *(heldout.get(databases) for databases in ("unseen_databases", "trained_databases")),
        summarize(model.records_of("heldout"), ()).valid_call_rate,
    )
    return (_row_name(evaluation, model), *map(percent, shares))


def _undisputed_row(evaluation: Evaluation, model: EvaluatedModel) -> list[tuple[str, ...]]:
    """The row of BFCL's scores without disputed tasks, if the model was given such tasks."""
    records = model.records_of("bfcl")
    if not any(record.task_id in DISPUTED for record in records):
        return []
    bfcl = aggregate(records, DISPUTED)
    others = ["–"] * (len(TAU2_DOMAINS) + len(EXTRA_COLUMNS))
    name = f"{_row_name(evaluation, model)}, undisputed tasks of BFCL"
    return [(name, *(percent(bfcl[group]) for group in BFCL_GROUPS), *others)]


def _do_nothing_rows(evaluation: Evaluation) -> list[tuple[str, ...]]:
    """The row of an agent that does nothing, if the run has τ² trials."""
    trials = [record for record in evaluation.records if record.benchmark == "tau2"]
    if not trials:
        return []
    shares = do_nothing(trials)
    tau2 = [percent(shares.get(domain)) for domain in TAU2_DOMAINS]
    return [(f"doing nothing [{evaluation.number}]", *("–" for _ in BFCL_GROUPS), *tau2, *("–" for _ in EXTRA_COLUMNS))]


def table_3(evaluations: Sequence[Evaluation]) -> PaperTable:
    """The pipeline ablation: the paper's models and ours, by the pipelines of their training data."""
    rows: list[tuple[str, ...]] = []
    for pipeline, papers in TABLE_3.items():
        rows += [(pipeline, f"{name} (paper)", cell(mt), cell(telecom)) for name, mt, telecom in papers]
        for evaluation in evaluations:
            for model in evaluation.models:
                if pipeline_of(model.mixture) == pipeline:
                    scores = (
                        aggregate(model.records_of("bfcl"))["multi_turn"],
                        pass_1_by_category(model.records_of("tau2")).get("telecom"),
                    )
                    rows.append((pipeline, _row_name(evaluation, model), *map(percent, scores)))
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
    """The row of Table 3 for a model trained on these pipelines. The user-oriented pipelines build on one another, so
    the richest one decides; None for any other mixture and for unknown training data."""
    task_oriented, user_oriented, executed = TABLE_3
    trained_on = set(mixture)
    if trained_on == {"task_oriented"}:
        return task_oriented
    if trained_on == {"user_oriented"}:
        return user_oriented
    return executed if trained_on & EXECUTED and trained_on <= {"user_oriented", *EXECUTED} else None


def heldout_table(evaluations: Sequence[Evaluation]) -> PaperTable | None:
    """The held-out benchmark by axis: each value with the other axes at their base; None if no axis was varied."""
    rows = [
        row
        for evaluation in evaluations
        for model in evaluation.models
        for axis, groups in by_axis(model.records_of("heldout")).items()
        if axis != DATABASE  # many rows of few tasks each; the run's summary shows them
        for (databases, value), trials in groups.items()
        for row in [_row_heldout(f"{axis} {value}", databases, _row_name(evaluation, model), trials)]
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
    """Pass@1, and Pass^n for all n trials."""
    n = max(record.trial for record in trials) + 1
    summary = summarize(trials, (1, n))
    scores = (interval(summary.pass_at[1]), str(n), interval(summary.pass_hat[n]))
    return (condition, databases.removesuffix("_databases"), model, str(summary.tasks), *scores)


def _row_name(evaluation: Evaluation, model: EvaluatedModel) -> str:
    """Only a model that we trained is ours."""
    return f"**{model.name}{' (ours)' if model.mixture else ''}** {evaluation.mark(model)}"


def _notes(evaluations: Sequence[Evaluation]) -> tuple[str, ...]:
    return tuple(f"[{evaluation.number}] {caveat}" for evaluation in evaluations for caveat in evaluation.caveats())
