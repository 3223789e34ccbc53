"""The paper's tables with our rows, each with its run. Only finished runs with a manifest are used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field
from rich import box
from rich.console import Console
from rich.table import Table

from core.files import write_atomically, write_json
from core.manifest import read_manifest
from core.settings import Settings
from evaluation.reports.benchmark_tables import heldout_table, table_2, table_3
from evaluation.reports.evaluations import Evaluation, read_evaluations
from evaluation.reports.figure_5 import draw_figure_5
from evaluation.reports.generation_tables import table_1, table_4
from evaluation.reports.paper_table import PaperTable


class TablesSettings(Settings):
    """Settings of the tables: the keys of conf/tables.yaml."""

    profile: str = Field(description="not used by the tables; accepted because `make` gives one profile to all stages")
    outputs: Path = Field(description="directory of all runs; tables are written to its folder tables/")
    generation: Path | None = Field(description="generation run for Tables 1 and 4; null: the newest finished one")
    evaluation: Annotated[
        tuple[Path, ...] | None, BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
    ] = Field(description="one or more evaluation runs for the other tables; null: the newest finished one")


def tables(generation: Path | None, evaluations: Sequence[Path]) -> tuple[list[PaperTable], list[Evaluation]]:
    """The tables, and the evaluations behind them. Raises UserError for a directory that is not a scored run, and for
    runs of different harnesses."""
    generated = read_manifest(generation) if generation else None
    evaluated = read_evaluations(evaluations)
    heldout = heldout_table(evaluated)
    paper_tables = [table_1(generated), table_2(evaluated), table_3(evaluated), table_4(generated)]
    return [*paper_tables, heldout] if heldout else paper_tables, evaluated


def write_tables(paper_tables: Sequence[PaperTable], directory: Path) -> None:
    """Write tables.md and tables.json."""
    write_atomically(directory / "tables.md", "\n\n".join(table.markdown() for table in paper_tables) + "\n")
    write_json(directory / "tables.json", [table.model_dump() for table in paper_tables])


def show_tables(console: Console, paper_tables: Sequence[PaperTable]) -> None:
    """Print each table and its notes; a note shared by several tables is printed once."""
    shown: set[str] = set()
    for table in paper_tables:
        view = Table(title=table.title, box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
        for position, column in enumerate(table.columns):
            # A long name in the first column wraps; numbers never do.
            least = 0 if position else 16
            view.add_column(column, justify="right" if position else "left", no_wrap=bool(position), min_width=least)
        for row in table.rows:
            view.add_row(*(cell.replace("**", "") for cell in row), style="bold" if row[0].startswith("**") else None)
        console.print(view)
        for note in (note for note in table.notes if note not in shown):
            console.print(f"  {note}", style="dim", soft_wrap=True, highlight=False, markup=False)
            shown.add(note)


def publish_tables(console: Console, outputs: Path, generation: Path | None, evaluations: Sequence[Path]) -> None:
    """Print the tables and write them, with the figure, to outputs/tables/. Raises UserError as `tables` does."""
    paper_tables, evaluated = tables(generation, evaluations)
    show_tables(console, paper_tables)
    directory = outputs / "tables"
    write_tables(paper_tables, directory)
    drawings = draw_figure_5(evaluated, directory)
    names = ", ".join(["tables.md", "tables.json", *(path.name for path in drawings)])
    console.print(f"written to {directory}: {names}", soft_wrap=True)
