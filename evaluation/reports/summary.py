"""What a person is told at the end of an evaluation: the scores, what was varied, how models differ, where they fail and why."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from evaluation.metrics.pass_at_k import Summary, summarize
from evaluation.metrics.scores import Difference, ModelScores, by_axis, by_category
from evaluation.reports.paper_table import interval
from evaluation.trials import TrialRecord

WORST = 5
LINKS = 3
"""So many of the worst categories, and of the failing transcripts of each, are named."""


def report_lost(console: Console, records: Sequence[TrialRecord], directory: Path) -> None:
    """Why there are no scores: how many trials of which benchmark were lost, and to what."""
    lost: dict[tuple[str, str], list[str]] = defaultdict(list)
    for record in records:
        if record.success is None:
            lost[record.model, record.benchmark].append(str(record.infrastructure_error))
    for (model, benchmark), reasons in lost.items():
        example = " ".join(reasons[0].split())[:300]
        console.print(
            f"{len(reasons)} trials of {benchmark} with {model}, such as: {example}", markup=False, soft_wrap=True
        )
    many = sum(map(len, lost.values()))
    console.print(
        f"[bold red]{many} of {len(records)} trials were lost to infrastructure, so nothing is scored. The same command "
        "tries them again; with allow_errors=true the others are scored, and marked.[/]",
        soft_wrap=True,
    )
    console.print(f"every trial: {directory}", markup=False, soft_wrap=True)


def summarise(
    console: Console,
    scores: Sequence[ModelScores],
    compared: Sequence[Difference],
    records: Sequence[TrialRecord],
    ks: tuple[int, ...],
    directory: Path,
) -> None:
    """Scores by category and by axis, differences between models, the worst categories, and where everything is."""
    lost = sum(record.success is None for record in records)
    mark = f" · {lost} TRIALS LOST, not in them" if lost else ""
    rows = [
        ((category, score.label), score.categories[category])
        for category in sorted({name for score in scores for name in score.categories})
        for score in scores
        if category in score.categories
    ]
    console.print(_scores(f"Scores in % with 95 % intervals{mark}", ("category", "model"), rows, ks))
    for table in _axes(records, ks, mark):
        console.print(table)
    if compared:
        console.print(_differences(compared, mark))
    _print_worst(console, records, directory, mark)
    console.print(f"every trial, results.json and this summary: {directory}", markup=False, soft_wrap=True)


def _scores(
    title: str, names: Sequence[str], rows: Iterable[tuple[tuple[str, ...], Summary]], ks: tuple[int, ...]
) -> Table:
    """A row for each (values of `names`, summary)."""
    headings = [*(f"Pass@{k}" for k in ks), *(f"Pass^{k}" for k in ks if k > 1)]
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in (*names, "tasks", "trials", "lost", "valid calls", *headings):
        table.add_column(heading, justify="left" if heading in names else "right")
    for labels, summary in rows:
        valid = summary.valid_call_rate
        counts = (str(summary.tasks), str(summary.trials), str(summary.infrastructure_errors))
        figures = [summary.pass_at[k] for k in ks] + [summary.pass_hat[k] for k in ks if k > 1]
        calls = "–" if valid is None else f"{100 * valid:.0f} % of {summary.calls}"
        table.add_row(*labels, *counts, calls, *(interval(figure, ".0f") for figure in figures))
    return table


def _axes(records: Sequence[TrialRecord], ks: tuple[int, ...], mark: str) -> Iterable[Table]:
    """A table for each axis that was varied, all others at their base."""
    models = dict.fromkeys(record.model for record in records)
    for axis, groups in by_axis(records).items():
        rows = []
        for (databases, value), trials in groups.items():
            for model in models:
                own = [trial for trial in trials if trial.model == model]
                rows += [((databases, value, model), summarize(own, ks))] if own else []
        yield _scores(f"By {axis}, in %{mark}", ("databases", axis, "model"), rows, ks)


def _differences(found: Sequence[Difference], mark: str) -> Table:
    title = f"Differences in Pass@1, in points; p of a sign-flip test over tasks, for each row by itself{mark}"
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("benchmark or category", "models", "tasks", "difference", "p"):
        table.add_column(heading, justify="left" if heading in ("benchmark or category", "models") else "right")
    for each in found:
        difference, p = each.comparison.difference, each.comparison.p_value
        models = f"{each.first} − {each.second}"
        table.add_row(each.name, models, str(difference.tasks), interval(difference, "+.1f"), f"{p:.4f}")
    return table


def _print_worst(console: Console, records: Sequence[TrialRecord], directory: Path, mark: str) -> None:
    """The categories with the lowest Pass@1, and transcripts of failed trials."""
    worst = []
    for model in dict.fromkeys(record.model for record in records):
        for category, trials in by_category(record for record in records if record.model == model).items():
            estimate = summarize(trials, (1,)).pass_at[1]
            if estimate and estimate.value < 1.0:
                worst.append((estimate.value, category, model, trials))
    for value, category, model, trials in sorted(worst, key=lambda each: each[:3])[:WORST]:
        failed = [trial for trial in trials if trial.success is False]
        console.print(
            f"worst: {100 * value:.0f} % {category}, {model}: {_why(failed)}{mark}", markup=False, soft_wrap=True
        )
        for transcript in [trial.transcript for trial in failed if trial.transcript][:LINKS]:
            console.print(f"  {directory / transcript}", markup=False, highlight=False, soft_wrap=True)


def _why(failed: Sequence[TrialRecord]) -> str:
    reasons = Counter(trial.stop_reason for trial in failed)
    return f"{len(failed)} failed ({', '.join(f'{count} {reason}' for reason, count in reasons.most_common(3))})"
