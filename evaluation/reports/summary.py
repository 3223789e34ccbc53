"""The printed summary of an evaluation: scores, varied axes, differences between models, and the worst categories."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from evaluation.metrics.pass_at_k import Summary, summarize
from evaluation.metrics.scores import Difference, ModelScores, by_axis, by_category
from evaluation.reports.blame_table import blame_table
from evaluation.reports.paper_table import interval, percent
from evaluation.trials import TrialRecord

WORST = 5
LINKS = 3
"""The number of worst categories shown, and of failed transcripts for each."""


def print_infrastructure_errors(console: Console, records: Sequence[TrialRecord], directory: Path) -> None:
    """Explain why the run is not scored: the number of infrastructure errors per model and benchmark, with an
    example."""
    errors: dict[tuple[str, str], list[str]] = defaultdict(list)
    for record in records:
        if record.success is None:
            errors[record.model, record.benchmark].append(str(record.infrastructure_error))
    for (model, benchmark), messages in errors.items():
        example = " ".join(messages[0].split())[:300]
        console.print(
            f"{len(messages)} trials of {benchmark} with {model}, for example: {example}", markup=False, soft_wrap=True
        )
    total = sum(map(len, errors.values()))
    console.print(
        f"[bold red]{total} of {len(records)} trials had infrastructure errors, so nothing is scored. The same command "
        "runs them again; with allow_errors=true the others are scored, and marked.[/]",
        soft_wrap=True,
    )
    console.print(f"every trial: {directory}", markup=False, soft_wrap=True)


def print_summary(
    console: Console,
    scores: Sequence[ModelScores],
    compared: Sequence[Difference],
    records: Sequence[TrialRecord],
    ks: tuple[int, ...],
    directory: Path,
    caveats: Mapping[str, Sequence[str]],
) -> None:
    """Scores by category, of BFCL's groups, and by axis, differences between models, the worst categories, each
    benchmark's caveats, and where everything is."""
    errors = sum(record.success is None for record in records)
    mark = f" · {errors} INFRASTRUCTURE ERRORS, excluded" if errors else ""
    rows = [
        ((category, model.label), model.categories[category])
        for category in sorted({category for model in scores for category in model.categories})
        for model in scores
        if category in model.categories
    ]
    console.print(_score_table(f"Scores in % with 95 % intervals{mark}", ("category", "model"), rows, ks))
    if any(model.metrics.get("bfcl", {}).get("overall_of_what_was_run") is not None for model in scores):
        console.print(_bfcl_table(scores, mark))
    for table in _axis_tables(records, ks, mark):
        console.print(table)
    if blamed := blame_table(records):
        console.print(blamed)
    if compared:
        console.print(_difference_table(compared, mark))
    for benchmark, notes in caveats.items():
        for note in notes:
            console.print(f"{benchmark}: {note}", markup=False, highlight=False, soft_wrap=True)
    _print_worst(console, records, directory, mark)
    console.print(f"every trial, results.json and this summary: {directory}", markup=False, soft_wrap=True)


def _score_table(
    title: str, names: Sequence[str], rows: Iterable[tuple[tuple[str, ...], Summary]], ks: tuple[int, ...]
) -> Table:
    """A table with a row for each (values of `names`, summary)."""
    headings = [*(f"Pass@{k}" for k in ks), *(f"Pass^{k}" for k in ks if k > 1)]
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in (*names, "tasks", "trials", "errors", "valid calls", *headings):
        table.add_column(heading, justify="left" if heading in names else "right")
    for labels, summary in rows:
        valid = summary.valid_call_rate
        counts = (str(summary.tasks), str(summary.trials), str(summary.infrastructure_errors))
        estimates = [summary.pass_at[k] for k in ks] + [summary.pass_hat[k] for k in ks if k > 1]
        calls = "–" if valid is None else f"{100 * valid:.0f} % of {summary.calls}"
        table.add_row(*labels, *counts, calls, *(interval(estimate, ".0f") for estimate in estimates))
    return table


def _bfcl_table(scores: Sequence[ModelScores], mark: str) -> Table:
    """Pass@1 of BFCL's groups: of all tasks, as officially, and without disputed ones."""
    title = f"BFCL by group, Pass@1 in %: all tasks, and without disputed ones{mark}"
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("group", "model", "all tasks", "undisputed"):
        table.add_column(heading, justify="left" if heading in ("group", "model") else "right")
    groups = dict.fromkeys(group for model in scores for group in model.metrics.get("bfcl", {}))
    for group in (name for name in groups if f"undisputed_{name}" in groups):
        for model in scores:
            metrics = model.metrics.get("bfcl", {})
            if metrics.get(group) is not None:
                shares = (metrics[group], metrics[f"undisputed_{group}"])
                table.add_row(group, model.label, *map(percent, shares))
    return table


def _axis_tables(records: Sequence[TrialRecord], ks: tuple[int, ...], mark: str) -> Iterable[Table]:
    """A table for each varied axis, with all others at their base."""
    models = dict.fromkeys(record.model for record in records)
    for axis, groups in by_axis(records).items():
        rows = []
        for (databases, value), trials in groups.items():
            for model in models:
                of_model = [trial for trial in trials if trial.model == model]
                rows += [((databases, value, model), summarize(of_model, ks))] if of_model else []
        yield _score_table(f"By {axis}, in %{mark}", ("databases", axis, "model"), rows, ks)


def _difference_table(compared: Sequence[Difference], mark: str) -> Table:
    title = f"Differences in Pass@1, in points; p of a sign-flip test over tasks, not corrected for several rows{mark}"
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("benchmark or category", "models", "tasks", "difference", "p"):
        table.add_column(heading, justify="left" if heading in ("benchmark or category", "models") else "right")
    for pair in compared:
        difference, p = pair.comparison.difference, pair.comparison.p_value
        models = f"{pair.first} − {pair.second}"
        table.add_row(pair.name, models, str(difference.tasks), interval(difference, "+.1f"), f"{p:.4f}")
    return table


def _print_worst(console: Console, records: Sequence[TrialRecord], directory: Path, mark: str) -> None:
    """Print the categories with the lowest Pass@1, with transcripts of failed trials."""
    worst = []
    for model in dict.fromkeys(record.model for record in records):
        for category, trials in by_category(record for record in records if record.model == model).items():
            estimate = summarize(trials, (1,)).pass_at[1]
            if estimate and estimate.value < 1.0:
                worst.append((estimate.value, category, model, trials))
    for value, category, model, trials in sorted(worst, key=lambda row: row[:3])[:WORST]:
        failed = [trial for trial in trials if trial.success is False]
        console.print(
            f"worst: {100 * value:.0f} % {category}, {model}: {_stop_reasons(failed)}{mark}",
            markup=False,
            soft_wrap=True,
        )
        for transcript in [trial.transcript for trial in failed if trial.transcript][:LINKS]:
            console.print(f"  {directory / transcript}", markup=False, highlight=False, soft_wrap=True)


def _stop_reasons(failed: Sequence[TrialRecord]) -> str:
    reasons = Counter(trial.stop_reason for trial in failed)
    return f"{len(failed)} failed ({', '.join(f'{count} {reason}' for reason, count in reasons.most_common(3))})"
