"""make tables: Tables 1 to 4 and Figure 5 -> the screen, and outputs/tables/ as Markdown, JSON, PNG and PDF."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich import box
from rich.console import Console
from rich.table import Table

from core.console import stage_console
from core.settings import typed
from evaluation.reports.figure_5 import draw_figure_5
from evaluation.reports.paper_table import PaperTable
from evaluation.reports.tables import TablesSettings, tables, write_tables
from scripts.launch import main


def newest(outputs: Path, stage: str) -> Path | None:
    link = outputs / stage / "latest"
    return link.resolve() if link.exists() else None


def show(console: Console, found: list[PaperTable]) -> None:
    """Each table with its notes, those of several tables once."""
    shown: set[str] = set()
    for table in found:
        view = Table(title=table.title, box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
        for position, column in enumerate(table.columns):
            # A long name in the first column wraps, figures never do.
            least = 0 if position else 16
            view.add_column(column, justify="right" if position else "left", no_wrap=bool(position), min_width=least)
        for row in table.rows:
            view.add_row(*(cell.replace("**", "") for cell in row), style="bold" if row[0].startswith("**") else None)
        console.print(view)
        for note in (note for note in table.notes if note not in shown):
            console.print(f"  {note}", style="dim", soft_wrap=True, highlight=False, markup=False)
            shown.add(note)


def publish(console: Console, outputs: Path, generation: Path | None, evaluations: Sequence[Path]) -> None:
    """Show the tables and write everything into outputs/tables/."""
    found, evaluated = tables(generation, evaluations)
    show(console, found)
    directory = outputs / "tables"
    write_tables(found, directory)
    drawn = draw_figure_5(evaluated, directory)
    written = ", ".join(["tables.md", "tables.json", *(path.name for path in drawn)])
    console.print(f"written to {directory}: {written}", soft_wrap=True)


def stage(config: DictConfig) -> None:
    settings = typed(config, TablesSettings)
    outputs = settings.outputs
    evaluations = settings.evaluation
    if evaluations is None:
        evaluations = tuple(filter(None, [newest(outputs, "evaluate")]))
    publish(stage_console(), outputs, settings.generation or newest(outputs, "generate"), evaluations)


if __name__ == "__main__":
    main("tables", stage)
