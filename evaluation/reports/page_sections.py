"""An evaluation run on a page: caveats first, then scores with intervals, differences, and every trial in a grid."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from core.manifest import Manifest, read_manifest
from core.page.contents import Block, Cell, Filter, Grid, GridRow, Notice, Row, Section, Table, Tile, Tiles
from evaluation.bfcl.categories import aggregate
from evaluation.bfcl.disputed import DISPUTED
from evaluation.metrics.pass_at_k import Summary, summarize
from evaluation.metrics.scores import (
    DATABASES,
    by_axis,
    by_benchmark,
    by_category,
    differences,
)
from evaluation.reports.blame_table import blame_table
from evaluation.reports.evaluations import read_evaluations
from evaluation.reports.page_curves import pass_curves
from evaluation.reports.page_records import outcome, recorded_trials, transcript_key
from evaluation.reports.paper_table import interval, percent
from evaluation.trials import TrialRecord

SILENT_TOKENS = 2
"""An answer of so few tokens is empty: the end of turn is one."""

ERROR_CHARACTERS = 300
"""An example of an infrastructure error is cut to this length."""


def sections(run: Path) -> tuple[Section, ...]:
    """What an evaluation run shows, finished or not. Raises UserError for a directory that is no run, and for records
    that cannot be read."""
    manifest = read_manifest(run)
    records = recorded_trials(run, manifest)
    ks = tuple(manifest.config["ks"])
    found = [
        Section(key="evaluation", title="Evaluation", blocks=(*_notices(run, manifest, records), *_tiles(records))),
        Section(key="evaluation-scores", title="Scores", blocks=(*_score_tables(records, ks), *pass_curves(records))),
        Section(key="evaluation-differences", title="Differences between models", blocks=_differences(records)),
        Section(key="evaluation-trials", title="Trials", blocks=(*_blame(records), *_grids(records, manifest))),
    ]
    return tuple(section for section in found if section.blocks)


def _notices(run: Path, manifest: Manifest, records: Sequence[TrialRecord]) -> list[Block]:
    """What must be known before any number is read."""
    notices: list[Block] = []
    finished = manifest.status == "finished"
    cells = (
        cell for grid in _grids(records, manifest) for row in grid.rows for of_model in row.cells for cell in of_model
    )
    missing = sum(cell.outcome == "missing" for cell in cells)
    if not finished:
        text = "This evaluation is not finished: its scores may change, and the same `make eval` resumes it."
        notices.append(Notice(level="error", text=text))
    if missing:
        text = (
            f"Missing trials: {missing:,}, of tasks that were tried with another model, or less often than configured."
        )
        notices.append(Notice(level="warning", text=text))
    if not records:
        notices.append(Notice(level="warning", text="No trial is recorded yet."))
    notices += _infrastructure_errors(records)
    notices += _silent_models(records)
    if finished:
        (evaluation,) = read_evaluations((run,))
        notes = [note for note in evaluation.caveats() if not note.startswith("†")]  # told above, in more detail
        return [*notices, Table(title="Before you read the scores", columns=("note",), rows=_single(notes))]
    if truncated := sum(record.truncations > 0 for record in records):
        text = f"{truncated:,} of {len(records):,} trials had a reply cut at max_tokens."
        notices.append(Notice(level="warning", text=text))
    return notices


def _single(notes: Iterable[str]) -> tuple[Row, ...]:
    return tuple(Row(cells=(note,)) for note in notes)


def _infrastructure_errors(records: Sequence[TrialRecord]) -> list[Block]:
    """A notice for each model and benchmark with trials that could not be completed, and are in no score."""
    errors: dict[tuple[str, str], list[str]] = defaultdict(list)
    for record in records:
        if record.success is None:
            errors[record.model, record.benchmark].append(" ".join(str(record.infrastructure_error).split()))
    totals = Counter((record.model, record.benchmark) for record in records)
    return [
        Notice(
            level="error",
            text=f"{len(messages):,} of {totals[model, benchmark]:,} trials of {benchmark} with {model} had "
            f"infrastructure errors and are in no score, for example: {messages[0][:ERROR_CHARACTERS]}",
        )
        for (model, benchmark), messages in errors.items()
    ]


def _silent_models(records: Sequence[TrialRecord]) -> list[Block]:
    """A warning for each model that answers most of a benchmark's trials with nothing: its scores say only that."""
    notices: list[Block] = []
    for benchmark, model, trials in _by_model(by_benchmark(records)):
        known = [r for r in trials if r.completion_tokens is not None]
        silent = [r for r in known if not r.calls and (r.completion_tokens or 0) <= SILENT_TOKENS]
        if known and 2 * len(silent) > len(known):
            text = (
                f"{model} answered nothing at all in {len(silent):,} of {len(known):,} trials of {benchmark}. Its scores "
                "there are those of silence, which is right where no tool fits and wrong elsewhere."
            )
            notices.append(Notice(level="warning", text=text))
    return notices


def _tiles(records: Sequence[TrialRecord]) -> list[Block]:
    """Pass@1 of each benchmark and model."""
    tiles = []
    for benchmark, model, trials in _by_model(by_benchmark(records)):
        summary = summarize(trials, (1,))
        estimate = summary.pass_at[1]
        value, _, bounds = interval(estimate).partition(" ")
        tiles.append(
            Tile(
                label=f"{benchmark}, {model}: Pass@1 in %",
                value=value,
                detail=f"{bounds}, {summary.tasks:,} tasks, {summary.trials:,} trials"
                if estimate
                else "no trial completed",
                filter={"benchmark": benchmark, "model": model},
            )
        )
    return [Tiles(tiles=tuple(tiles))] if tiles else []


def _by_model(groups: dict[str, list[TrialRecord]]) -> Iterable[tuple[str, str, list[TrialRecord]]]:
    """(group, model, trials) in the order of the records."""
    for name, of_group in groups.items():
        for model in dict.fromkeys(record.model for record in of_group):
            yield name, model, [record for record in of_group if record.model == model]


def _score_tables(records: Sequence[TrialRecord], ks: tuple[int, ...]) -> list[Block]:
    """A table by benchmark and category, BFCL's groups, and a table for each varied axis."""
    if not records:
        return []
    groups = [*_by_model(by_benchmark(records)), *_by_model(by_category(records))]
    rows = [
        _score_row((name, model), summarize(trials, ks), ks, _filter(name, model)) for name, model, trials in groups
    ]
    note = "Intervals of 95 %, over tasks. Trials with infrastructure errors are in no score."
    tables = [_score_table("By benchmark and category, in %", ("benchmark or category", "model"), rows, ks, note)]
    if any(record.benchmark == "bfcl" for record in records):
        tables.append(_bfcl_groups([record for record in records if record.benchmark == "bfcl"]))
    for axis, values in by_axis(records).items():
        rows = []
        for (databases, value), of_value in values.items():
            for _, model, trials in _by_model({value: of_value}):
                categories = {record.category for record in trials}
                one = {"category": categories.pop()} if len(categories) == 1 else {}
                chosen = one | {DATABASES: databases, axis: value, "model": model}
                rows.append(_score_row((databases, value, model), summarize(trials, ks), ks, chosen))
        note = "All other axes are at their base."
        tables.append(_score_table(f"By {axis}, in %", ("databases", axis, "model"), rows, ks, note))
    return [*tables]


def _score_table(title: str, names: tuple[str, ...], rows: Sequence[Row], ks: tuple[int, ...], note: str) -> Table:
    headings = [*(f"Pass@{k}" for k in ks), *(f"Pass^{k}" for k in ks if k > 1)]
    columns = (*names, "tasks", "trials", "errors", "cut replies", "valid calls", *headings)
    numeric = tuple(range(len(names), len(columns)))
    return Table(title=title, columns=columns, rows=tuple(rows), numeric=numeric, note=note)


def _score_row(labels: tuple[str, ...], summary: Summary, ks: tuple[int, ...], chosen: Filter) -> Row:
    valid = summary.valid_call_rate
    estimates = [summary.pass_at[k] for k in ks] + [summary.pass_hat[k] for k in ks if k > 1]
    counts = (summary.tasks, summary.trials, summary.infrastructure_errors, summary.truncations)
    calls = "–" if valid is None else f"{100 * valid:.0f} % of {summary.calls:,}"
    return Row(cells=(*labels, *(f"{count:,}" for count in counts), calls, *map(interval, estimates)), filter=chosen)


def _filter(name: str, model: str = "") -> Filter:
    """The trials of "benchmark" or "benchmark/category", of one model if it is named."""
    benchmark, _, category = name.partition("/")
    parts = {"benchmark": benchmark, "category": category, "model": model}
    return {facet: value for facet, value in parts.items() if value}


def _bfcl_groups(records: Sequence[TrialRecord]) -> Table:
    rows = []
    for _, model, trials in _by_model({"bfcl": [*records]}):
        undisputed = aggregate(trials, DISPUTED)
        for group, score in aggregate(trials).items():
            if score is not None:
                cells = (group, model, percent(score), percent(undisputed[group]))
                rows.append(Row(cells=cells, filter=_filter("bfcl", model)))
    rows.sort(key=lambda row: row.cells[0])
    return Table(
        title="BFCL by group, Pass@1 in %",
        columns=("group", "model", "all tasks", "undisputed"),
        rows=tuple(rows),
        numeric=(2, 3),
        note="undisputed: without the tasks that no answer can pass that follows the tools as the task states them",
    )


def _differences(records: Sequence[TrialRecord]) -> tuple[Block, ...]:
    """Pass@1 of every two models on the tasks that both completed."""
    rows = []
    for pair in differences(records):
        difference, p = pair.comparison.difference, pair.comparison.p_value
        cells = (
            pair.name,
            f"{pair.first} − {pair.second}",
            f"{difference.tasks:,}",
            interval(difference, "+.1f"),
            f"{p:.4f}",
        )
        rows.append(Row(cells=cells, filter=_filter(pair.name)))
    if not rows:
        return ()
    return (
        Table(
            title="Differences in Pass@1, in points",
            columns=("benchmark or category", "models", "tasks", "difference", "p"),
            rows=tuple(rows),
            numeric=(2, 3, 4),
            note="On the tasks that both models completed, with 95 % intervals. p: of a sign-flip test over tasks, not "
            "corrected for several rows.",
        ),
    )


def _blame(records: Sequence[TrialRecord]) -> list[Block]:
    table = blame_table(records)
    if table is None:
        return []
    columns = [[str(cell) for cell in column.cells] for column in table.columns]
    headings = tuple(str(column.header) for column in table.columns)
    rows = tuple(
        Row(cells=cells, filter={"benchmark": cells[0], "model": cells[1], "outcome": "failed"})
        for cells in zip(*columns, strict=True)
    )
    numeric = tuple(range(2, len(headings) - 1))
    note = "A failure that the user, a tool or the task caused says nothing about the model."
    return [Table(title=str(table.title), columns=headings, rows=rows, numeric=numeric, note=note)]


def _grids(records: Sequence[TrialRecord], manifest: Manifest) -> list[Grid]:
    """A grid for each benchmark and category: a row for each task, and in it a cell for each trial of each model."""
    trials = max([int(manifest.config["trials"]), *(record.trial + 1 for record in records)])
    models = tuple(dict.fromkeys(record.model for record in records))
    grids = []
    for name, of_category in by_category(records).items():
        known = {(record.task_id, record.model, record.trial): record for record in of_category}
        rows = tuple(
            GridRow(
                task=task,
                cells=tuple(tuple(_cell(known.get((task, model, n))) for n in range(trials)) for model in models),
            )
            for task in sorted({record.task_id for record in of_category}, key=natural)
        )
        grids.append(Grid(title=name, models=models, rows=rows))
    return grids


def natural(text: str) -> list[tuple[int, str]]:
    """A sort key by which task_9 comes before task_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def _cell(record: TrialRecord | None) -> Cell:
    return Cell(outcome=outcome(record), transcript=transcript_key(record)) if record else Cell(outcome="missing")
