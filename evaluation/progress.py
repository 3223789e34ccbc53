"""What a person sees of a running evaluation: a bar a benchmark, and the scores at the end."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import TaskID
from rich.table import Table

from core.console import Bars
from evaluation.passk import Estimate
from evaluation.suite import ModelScores


class BenchmarkProgress(Bars):
    """A bar for each benchmark that reports; call it with (what, done, of)."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, what: str, done: int, of: int) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=of)
        self._progress.update(self._tasks[what], completed=done, total=of)


def summarise(console: Console, scores: list[ModelScores], directory: Path) -> None:
    """Every category of every model, what was lost to infrastructure, and where everything is."""
    ks = sorted({k for score in scores for summary in score.categories.values() for k in summary.pass_hat})
    headings = [*(f"Pass@{k}" for k in ks), *(f"Pass^{k}" for k in ks if k > 1)]
    table = Table(title="Scores in % with 95 % intervals", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("category", "model", "trials", "lost", "valid calls", *headings):
        table.add_column(heading, justify="left" if heading in ("category", "model") else "right")
    for category in sorted({name for score in scores for name in score.categories}):
        for score in scores:
            if summary := score.categories.get(category):
                valid = (
                    "–"
                    if summary.valid_call_rate is None
                    else f"{100 * summary.valid_call_rate:.0f} % of {summary.calls}"
                )
                figures = [summary.pass_at[k] for k in ks] + [summary.pass_hat[k] for k in ks if k > 1]
                counts = (str(summary.trials), str(summary.infrastructure_errors))
                table.add_row(category, score.label, *counts, valid, *map(_cell, figures))
    console.print(table)
    if lost := sum(score.lost for score in scores):
        console.print(
            f"[bold yellow]{lost} trials were lost to infrastructure and are in no score: the same command tries them again[/]"
        )
    console.print(f"every trial and results.json: {directory}", soft_wrap=True)


def _cell(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    return f"{100 * estimate.value:.0f} [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"
