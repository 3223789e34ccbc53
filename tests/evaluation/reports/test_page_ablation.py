"""An experiment on a page, against what was planted in its entries."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.page.contents import Block, Cell, Figure, Grid, Notice, Section, Table, Tiles
from core.settings import UserError
from evaluation.ablation.analysis import Analysis, analyse
from evaluation.ablation.power_plan import power_plan
from evaluation.ablation.registry import Entry
from evaluation.reports.ablation import write_analysis, write_plan
from evaluation.reports.page_ablation import Result, read_analysis, sections, shown, trial_transcripts
from tests.evaluation.helpers.ablation_entries import entries, entry, settings
from tests.evaluation.helpers.finished_runs import evaluation
from tests.evaluation.helpers.trials import trial

CELLS = {"good": 0.6, "poor": 0.3}


@pytest.fixture
def experiment(tmp_path: Path) -> tuple[Path, Analysis, list[Entry]]:
    """outputs/ablations/invented/ of an experiment whose third cell was not run."""
    cells = {cell: entries(cell, chance) for cell, chance in CELLS.items()}
    directory = tmp_path / "outputs" / "ablations" / "invented"
    write_plan(power_plan(settings(), cells, []), directory)
    write_analysis(analyse(settings(), cells), directory)
    return directory, read_analysis(directory), [e for of in cells.values() for e in of]


def without_trials(found: list[Entry]) -> list[Result]:
    return [Result(each, Path("removed"), ()) for each in found]


def blocks(page: tuple[Section, ...], key: str) -> tuple[Block, ...]:
    (section,) = (section for section in page if section.key == key)
    return section.blocks


def test_verdicts_and_what_they_lack_come_first(experiment: tuple[Path, Analysis, list[Entry]]) -> None:
    directory, analysis, found = experiment
    page = sections(directory, analysis, without_trials(found))
    assert [section.key for section in page] == ["verdicts", "cells", "plan", "results"]
    notice, tiles, table, figure = blocks(page, "verdicts")
    assert isinstance(notice, Notice)
    assert notice.text == "Not measured: equal data."
    assert isinstance(tiles, Tiles)
    assert [(tile.label, tile.value) for tile in tiles.tiles] == [
        ("reproduced", "1"),
        ("contradicted", "0"),
        ("unresolved", "2"),
    ]
    assert isinstance(table, Table)
    assert table.rows[0].cells[0] == "good data − poor data, BFCL multi-turn"
    assert table.rows[0].cells[-2] == "reproduced"
    assert table.columns.index("verdict") not in table.numeric
    assert isinstance(figure, Figure)
    assert figure.alt.startswith("good data − poor data, BFCL multi-turn: +")
    assert figure.alt.endswith("points, reproduced")


def test_one_seed_is_said_to_resolve_nothing(tmp_path: Path) -> None:
    cells = {cell: entries(cell, chance)[:1] for cell, chance in CELLS.items()}
    write_plan(power_plan(settings(), cells, []), tmp_path)
    page = sections(tmp_path, analyse(settings(), cells), [])
    first = blocks(page, "verdicts")[0]
    assert isinstance(first, Notice)
    assert "One seed resolves nothing" in first.text


def test_every_result_is_listed_with_its_runs(experiment: tuple[Path, Analysis, list[Entry]]) -> None:
    directory, analysis, found = experiment
    later = entry("good", 0, {"t1": (1, 1)}, finished="2026-02-01T10:30:00+00:00")
    page = sections(directory, analysis, without_trials([*found, later]))
    (table,) = blocks(page, "results")
    assert isinstance(table, Table)
    assert len(table.rows) == 7
    assert table.rows[0].cells[:3] == ("good", "0", "cpu")
    assert table.rows[0].cells[5:] == ("train-good-0", "evaluate-good-0", "ccccccccc, ccccccccc+", "2026-02-01T10:30")
    assert shown(analysis, without_trials([later, *found]))[0].entry == later


def test_the_trials_of_all_cells_stand_side_by_side(
    experiment: tuple[Path, Analysis, list[Entry]], tmp_path: Path
) -> None:
    directory, analysis, found = experiment
    results = []
    for each in found:
        passed = each.measured.cell == "good"
        records = [trial("heldout", "unseen", task, 0, passed and task == "t1") for task in ("t1", "t2")]
        run = evaluation(tmp_path, records, cell=each.measured.cell, seed=each.measured.seed)
        results.append(Result(each, run, tuple(records)))
    page = sections(directory, analysis, results)
    (grid,) = blocks(page, "trials")
    assert isinstance(grid, Grid)
    assert (grid.title, grid.models) == ("heldout/unseen", ("good data", "poor data"))
    assert [row.task for row in grid.rows] == ["t1", "t2"]
    assert [[cell.outcome for cell in cells] for cells in grid.rows[0].cells] == [["passed"] * 3, ["failed"] * 3]
    assert grid.rows[0].cells[1][2] == Cell(outcome="failed", transcript="poor/2/heldout/unseen/t1/0")
    chosen = {"good/1/heldout/unseen/t1/0", "poor/2/heldout/unseen/t2/0"}
    drawn = list(trial_transcripts(results, chosen))
    assert {transcript.key for transcript in drawn} == chosen
    assert drawn[0].facets["cell"] == ("good",)
    assert drawn[0].facets["seed"] == ("1",)
    assert "model" not in drawn[0].facets
    assert drawn[0].same_task == "heldout/unseen/t1"


@pytest.mark.parametrize("content", [None, "{}"])
def test_results_that_cannot_be_shown_say_what_to_do(tmp_path: Path, content: str | None) -> None:
    if content:
        (tmp_path / "results.json").write_text(content)
    with pytest.raises(UserError, match=rf"has no results.json that can be shown .*make ablation.*{tmp_path.name}"):
        read_analysis(tmp_path)
