"""Console output of an export: a progress bar for each step, and the final summary."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from core.console import Bars
from generation.export.report import Report


class ExportProgress(Bars):
    """A progress bar for each step."""

    def step(self, name: str, total: int) -> Callable[[int], None]:
        task = self._progress.add_task(name, total=total)
        return lambda count: self._progress.advance(task, count)


def summarise(console: Console, report: Report, directory: Path) -> None:
    """Print the kept dialogues by pipeline, what they share with benchmarks, missing provenance, the output folder."""
    console.print(_pipelines(report))
    if report.contamination:
        console.print(_contamination(report))
    for name, benchmark in report.contamination.items():
        if benchmark.in_domain:
            console.print(f"{benchmark.in_domain} dialogues were generated with {name}'s own tools: in-domain for it")
    if report.unvalidated:
        console.print(f"[bold yellow]{report.unvalidated} exported dialogues were not validated[/]")
    if report.provenance.missing:
        missing = ", ".join(f"{key} ({count})" for key, count in report.provenance.missing.items())
        console.print(f"[bold yellow]not stated in the provenance of exported dialogues: {missing}[/]")
    if report.uses.get("preferences") == 0:
        console.print(
            f"[bold yellow]preferences: {report.tried_for_preferences} tasks were tried, and none gave a pair; more "
            "dialogues, or requests=mix, give some[/]"
        )
    uses = ", ".join(f"{use} {count:,}" for use, count in report.uses.items())
    console.print(f"{uses}; {report.tasks.distinct:,} distinct tasks with the hash {report.tasks.hash}", soft_wrap=True)
    console.print(f"written to {directory}; the card is its README.md", soft_wrap=True)


def _pipelines(report: Report) -> Table:
    table = Table(title="Exported dialogues", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("pipeline", "generated", "kept", "removed"):
        table.add_column(heading, justify="right" if heading in ("generated", "kept") else "left")
    for name, counts in report.pipelines.items():
        removed = ", ".join(f"{why} {count}" for why, count in counts.removed.items())
        table.add_row(name, str(counts.read), str(counts.kept), removed or "-")
    return table


def _contamination(report: Report) -> Table:
    table = Table(title="Dialogues that share items with benchmarks", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("benchmark", "kind", "dialogues", "policy", "for example"):
        table.add_column(heading, justify="right" if heading == "dialogues" else "left")
    for name, benchmark in report.contamination.items():
        for kind, shared in benchmark.kinds.items():
            first = shared.examples[0] if shared.examples else None
            example = escape(f"{first.dialogue_id}: {first.what} ({first.of})") if first else "-"
            table.add_row(name, kind, str(shared.dialogues), shared.policy, example)
    return table
