"""The paper's tables with ours beside them, each of ours with the run it comes from. Only finished runs with a manifest count."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from core.files import write_atomically, write_json
from core.runs import read_manifest
from core.settings import Settings
from evaluation.reports.benchmark_tables import heldout_table, table_2, table_3
from evaluation.reports.evaluations import Evaluated, read_evaluations
from evaluation.reports.generation_tables import table_1, table_4
from evaluation.reports.paper_table import PaperTable


class TablesSettings(Settings):
    """conf/tables.yaml. Runs that are not named are the newest finished ones; `evaluation` may list several."""

    profile: str
    outputs: Path
    generation: Path | None
    evaluation: Annotated[
        tuple[Path, ...] | None, BeforeValidator(lambda given: [given] if isinstance(given, str) else given)
    ]


def tables(generation: Path | None, evaluations: Sequence[Path]) -> tuple[list[PaperTable], list[Evaluated]]:
    """The tables, and the evaluations that they and the figures are made from. Raises UserError for a run that is none or has
    not been scored, and for runs that one table cannot hold."""
    generated = read_manifest(generation) if generation else None
    evaluated = read_evaluations(evaluations)
    own = [table for table in (heldout_table(evaluated),) if table]
    return [table_1(generated), table_2(evaluated), table_3(evaluated), table_4(generated), *own], evaluated


def write_tables(found: Sequence[PaperTable], directory: Path) -> None:
    """tables.md and tables.json."""
    write_atomically(directory / "tables.md", "\n\n".join(table.markdown() for table in found) + "\n")
    write_json(directory / "tables.json", [table.model_dump() for table in found])
