"""make status [outputs=outputs]: the runs of all stages with state, age, size and lineage. Writes nothing."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field
from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from core.console import stage_console
from core.settings import Settings
from scripts.launch import clear_errors, read_settings
from scripts.outputs import LATEST, FoundRun, age, find_runs, nearest, parents, size_of

STYLES = {"finished": "green", "running": "bold cyan", "interrupted": "yellow", "unreadable": "red"}


class StatusSettings(Settings):
    """Settings of make status."""

    outputs: Path = Field(default=Path("outputs"), description="directory of all runs")


def show_status(console: Console, outputs: Path) -> None:
    """Print a row for each run, below the run that it was made from, and what else takes space. Raises UserError
    without a directory `outputs`."""
    runs = find_runs(outputs)
    console.print(_table(runs) if runs else f"no runs under {outputs}", highlight=False)
    for run in runs:
        if run.problem:
            console.print(run.problem, style="red", markup=False, highlight=False, soft_wrap=True)
    for link in sorted(folder / LATEST for folder in outputs.iterdir()):
        if link.is_symlink() and not link.exists():
            text = f"{link} links to {link.readlink()}, which is gone: remove the link, or name runs"
            console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)
    if any(run.state == "interrupted" for run in runs):
        console.print("interrupted: the command that started the run resumes it", style="dim", highlight=False)
    stages = {run.stage.split("/")[0] for run in runs}
    others = {path.name: size_of(path) for path in sorted(outputs.iterdir()) if path.name not in stages}
    if others:
        sizes = ", ".join(f"{name} {decimal(size)}" for name, size in others.items())
        console.print(f"not runs: {sizes}", style="dim", markup=False, highlight=False, soft_wrap=True)


def _table(runs: Sequence[FoundRun]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("stage", "run", "state", "age", "size", "made from"):
        table.add_column(heading, justify="right" if heading in ("age", "size") else "left", no_wrap=heading == "run")
    above = parents(runs)
    for depth, run in _by_lineage(runs, above):
        table.add_row(
            f"{'  ' * depth}{run.stage}",
            f"{run.name}{' ← latest' if run.latest else ''}",
            Text(run.state, STYLES[run.state]),
            age(run.started),
            decimal(size_of(run.directory)),
            ", ".join(nearest(run.name, above)),
        )
    return table


def _by_lineage(runs: Sequence[FoundRun], above: Mapping[str, frozenset[str]]) -> list[tuple[int, FoundRun]]:
    """(depth, run): each run follows the last of those that it was made from."""
    ordered: list[tuple[int, FoundRun]] = []

    def add(run: FoundRun, depth: int) -> None:
        ordered.append((depth, run))
        for child in runs:
            if nearest(child.name, above)[-1:] == [run.name]:
                add(child, depth + 1)

    for run in runs:
        if not above[run.name]:
            add(run, 0)
    return ordered


if __name__ == "__main__":
    with clear_errors():
        show_status(stage_console(), read_settings(sys.argv[1:], StatusSettings).outputs)
