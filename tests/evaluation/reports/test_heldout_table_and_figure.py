"""The held-out table and Figure 5, recomputed here, and how tables are written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evaluation.reports.evaluations import read_evaluations
from evaluation.reports.figure_5 import curves, draw_figure_5, panels
from evaluation.reports.paper_table import PaperTable
from evaluation.reports.tables import tables, write_tables
from tests.evaluation.helpers.finished_runs import (
    GENERATION,
    STATISTICS,
    axes,
    evaluation,
    finished,
    table_of,
)
from tests.evaluation.helpers.trials import trial


def test_the_held_out_table_has_a_row_for_each_value_of_an_axis(tmp_path: Path) -> None:
    records = [
        trial(
            "heldout",
            f"tasks_per_dialogue {tasks_per_dialogue}",
            task,
            n,
            n < wins,
            axes=axes("tasks_per_dialogue" if tasks_per_dialogue > 1 else "", str(tasks_per_dialogue)),
        )
        for tasks_per_dialogue, wins in ((1, 2), (2, 1))
        for task in range(3)
        for n in range(2)
    ]
    heldout = table_of(tables(None, (evaluation(tmp_path, records),))[0], "heldout")
    assert heldout.rows == (
        (
            "tasks_per_dialogue 1",
            "unseen",
            "**m** [1]",
            "3",
            "100.0 [100.0, 100.0]",
            "2",
            "100.0 [100.0, 100.0]",
        ),
        ("tasks_per_dialogue 2", "unseen", "**m** [1]", "3", "50.0 [50.0, 50.0]", "2", "0.0 [0.0, 0.0]"),
    )


def test_curves_are_pass_k_at_every_k(tmp_path: Path) -> None:
    outcomes = {"1": (True, True, True, False), "2": (True, True, False, False), "3": (True, None, None, None)}
    records = [trial("tau2", "retail", task, n, won) for task, row in outcomes.items() for n, won in enumerate(row)]
    (curve,) = curves(panels()[0], read_evaluations((evaluation(tmp_path, records, errors=3),)))
    values = {k: estimate.value for k, estimate in curve.points.items()}
    # C(c,k)/C(n,k): task 1 has 3 of 4, task 2 has 2 of 4, task 3 was completed once.
    assert values == pytest.approx({1: (3 / 4 + 1 / 2 + 1) / 3, 2: (1 / 2 + 1 / 6) / 2, 3: (1 / 4 + 0) / 2, 4: 0.0})
    assert [estimate.tasks for estimate in curve.points.values()] == [3, 2, 2, 2]
    assert all(e.low <= e.value <= e.high for e in curve.points.values())
    assert curves(panels()[1], read_evaluations((evaluation(tmp_path, records, errors=3),))) == []


def test_figure_5_has_the_same_bytes_when_drawn_again(tmp_path: Path) -> None:
    records = [
        trial(benchmark, category, task, n, (task + n) % 3 > 0, model=model)
        for model in ("trained", "untrained")
        for benchmark, category in (("tau2", "retail"), ("tau2", "airline"), ("heldout", "unseen_databases"))
        for task in range(5)
        for n in range(3)
    ]
    evaluations = read_evaluations((evaluation(tmp_path, records),))
    drawn = [draw_figure_5(evaluations, tmp_path / name) for name in "ab"]
    assert [[path.name for path in paths] for paths in drawn] == [["figure_5.png", "figure_5.pdf"]] * 2
    png, pdf = (path.read_bytes() for path in drawn[0])
    assert (png[:8], pdf[:5]) == (b"\x89PNG\r\n\x1a\n", b"%PDF-")
    assert [path.read_bytes() for path in drawn[1]] == [png, pdf]
    assert draw_figure_5(read_evaluations(()), tmp_path / "none") == []


def test_tables_are_written_as_markdown_and_json(tmp_path: Path) -> None:
    paper_tables = tables(finished(tmp_path, "generate", GENERATION, {"user_oriented": STATISTICS}), ())[0]
    write_tables(paper_tables, tmp_path / "tables")
    assert [
        PaperTable.model_validate(t) for t in json.loads((tmp_path / "tables" / "tables.json").read_text())
    ] == paper_tables
    blocks = (tmp_path / "tables" / "tables.md").read_text().split("### ")[1:]
    for block, table in zip(blocks, paper_tables, strict=True):
        lines = [line for line in block.splitlines() if line.startswith("| ")]
        assert len(lines) == 2 + len(table.rows)
        assert {line.count("|") for line in lines} == {len(table.columns) + 1}
        assert [line for line in block.splitlines() if line.startswith("- ")] == [f"- {note}" for note in table.notes]
