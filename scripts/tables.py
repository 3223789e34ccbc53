"""make tables: Tables 1, 2 and 4 -> the screen, and outputs/tables/ as Markdown and JSON."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig
from rich import box
from rich.console import Console
from rich.table import Table

from core.console import stage_console
from core.settings import typed
from evaluation.tables import PaperTable, TablesSettings, tables, write_tables
from scripts.launch import main


def newest(outputs: Path, stage: str) -> Path | None:
    link = outputs / stage / "latest"
    return link.resolve() if link.exists() else None


def show(console: Console, found: list[PaperTable]) -> None:
    for table in found:
        view = Table(title=table.title, box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
        for position, column in enumerate(table.columns):
            view.add_column(column, justify="right" if position else "left", no_wrap=not position)
        for row in table.rows:
            view.add_row(*(cell.replace("**", "") for cell in row), style="bold" if row[0].startswith("**") else None)
        console.print(view)
        for note in table.notes:
            console.print(f"  {note}", style="dim", soft_wrap=True, highlight=False)


def stage(config: DictConfig) -> None:
    settings = typed(config, TablesSettings)
    outputs = settings.outputs
    found = tables(
        settings.generation or newest(outputs, "generate"), settings.evaluation or newest(outputs, "evaluate")
    )
    console = stage_console()
    show(console, found)
    write_tables(found, outputs / "tables")
    console.print(f"written to {outputs / 'tables'}/tables.md and tables.json", soft_wrap=True)


if __name__ == "__main__":
    main("tables", stage)
