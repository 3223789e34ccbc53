"""An evaluation run on a page, against numbers worked out by hand: 2 models × 3 tasks × 2 trials, one error."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from core.journal import write_jsonl
from core.page.contents import Figure, Grid, Notice, Section, Table, Tiles
from core.runs import open_run
from evaluation.metrics.scores import RECORDS
from evaluation.reports.page_sections import sections
from evaluation.trials import TrialRecord
from tests.evaluation.helpers.finished_runs import EVALUATION, finished
from tests.evaluation.helpers.trials import trial

T = TypeVar("T")

OUTCOMES: dict[str, dict[str, tuple[bool | None, bool]]] = {
    "a": {"t1": (True, True), "t2": (True, False), "t3": (False, False)},
    "b": {"t1": (False, True), "t2": (False, False), "t3": (None, False)},
}
RECORDED = [
    trial("heldout", "unseen", task, number, success, model=model)
    for model, tasks in OUTCOMES.items()
    for task, outcomes in tasks.items()
    for number, success in enumerate(outcomes)
]
CONFIG = {**EVALUATION, "ks": [1, 2]}


def evaluation(outputs: Path, records: list[TrialRecord] = RECORDED) -> Path:
    models = [{"label": name, "model": f"runs/{name}", "mixture": {}} for name in OUTCOMES]
    results = {"models": models, "errors_allowed": 1, "caveats": {"heldout": ["only a few tasks"]}}
    run = finished(outputs, "evaluate", CONFIG, results)
    write_jsonl(run / RECORDS, records)
    return run


def of_kind(page: tuple[Section, ...], kind: type[T]) -> list[T]:
    return [block for section in page for block in section.blocks if isinstance(block, kind)]


def table(page: tuple[Section, ...], title: str) -> Table:
    return next(block for block in of_kind(page, Table) if block.title.startswith(title))


def test_caveats_and_errors_come_before_any_number(tmp_path: Path) -> None:
    page = sections(evaluation(tmp_path))
    first = page[0]
    assert first.key == "evaluation"
    assert [block.block for block in first.blocks] == ["notice", "table", "tiles"]
    (notice,) = of_kind(page, Notice)
    assert notice.level == "error"
    assert notice.text == (
        "1 of 6 trials of heldout with b had infrastructure errors and are in no score, for example: down"
    )
    notes = [row.cells[0] for row in table(page, "Before you read the scores").rows]
    assert any("only a few tasks" in note for note in notes)
    assert any("profile tiny" in note for note in notes)


def test_tiles_and_scores_are_those_worked_out_by_hand(tmp_path: Path) -> None:
    page = sections(evaluation(tmp_path))
    (tiles,) = of_kind(page, Tiles)
    assert [(tile.label, tile.value) for tile in tiles.tiles] == [
        ("heldout, a: Pass@1 in %", "50.0"),  # (1 + 0.5 + 0) / 3
        ("heldout, b: Pass@1 in %", "16.7"),  # (0.5 + 0 + 0) / 3
    ]
    assert tiles.tiles[0].detail == "[0.0, 100.0], 3 tasks, 6 trials"
    assert tiles.tiles[1].detail.endswith("3 tasks, 5 trials")
    assert tiles.tiles[1].filter == {"benchmark": "heldout", "model": "b"}
    scores = table(page, "By benchmark and category")
    assert scores.columns[-3:] == ("Pass@1", "Pass@2", "Pass^2")
    rows = {row.cells[:2]: row for row in scores.rows}
    values = {name: [cell.split(" ")[0] for cell in row.cells[-3:]] for name, row in rows.items()}
    assert values["heldout/unseen", "a"] == ["50.0", "66.7", "33.3"]
    assert values["heldout/unseen", "b"] == ["16.7", "50.0", "0.0"]  # the second and third of t1 and t2
    assert rows["heldout/unseen", "b"].cells[2:5] == ("3", "5", "1")
    assert rows["heldout/unseen", "b"].filter == {"benchmark": "heldout", "category": "unseen", "model": "b"}


def test_the_difference_is_paired_by_task(tmp_path: Path) -> None:
    """Differences of 0.5, 0.5 and 0: half of the four sign flips are as far from 0."""
    differences = table(sections(evaluation(tmp_path)), "Differences in Pass@1")
    name, models, tasks, value, p = differences.rows[0].cells
    assert (name, models, tasks, value.split(" ")[0], p) == ("heldout", "a − b", "3", "+33.3", "0.5000")
    assert "not corrected" in differences.note


def test_curves_are_drawn_only_of_several_trials(tmp_path: Path) -> None:
    (figure,) = of_kind(sections(evaluation(tmp_path / "two")), Figure)
    assert figure.svg.startswith("<svg")
    assert "Pass@k: any of k trials: a 50 % at k=1, 67 % at k=2; b 17 % at k=1, 50 % at k=2." in figure.alt
    assert "Pass^k: all of k trials: a 50 % at k=1, 33 % at k=2; b 17 % at k=1, 0 % at k=2." in figure.alt
    once = evaluation(tmp_path / "one", [record for record in RECORDED if record.trial == 0])
    assert of_kind(sections(once), Figure) == []


def test_the_grid_has_every_trial_of_both_models_and_its_transcript(tmp_path: Path) -> None:
    (grid,) = of_kind(sections(evaluation(tmp_path)), Grid)
    assert (grid.title, grid.models) == ("heldout/unseen", ("a", "b"))
    outcomes = {row.task: [[cell.outcome for cell in cells] for cells in row.cells] for row in grid.rows}
    assert outcomes == {
        "t1": [["passed", "passed"], ["failed", "passed"]],
        "t2": [["passed", "failed"], ["failed", "failed"]],
        "t3": [["failed", "failed"], ["error", "failed"]],
    }
    assert grid.rows[0].cells[1][0].transcript == "b/heldout/unseen/t1/0"


def test_blame_is_counted_and_leads_to_the_failed_trials(tmp_path: Path) -> None:
    blamed = [
        record.model_copy(update={"blame": "user" if record.task_id == "t2" else "agent", "blame_reason": "it left"})
        if record.success is False
        else record
        for record in RECORDED
    ]
    blame = table(sections(evaluation(tmp_path, blamed)), "Who caused the failed trials")
    assert blame.columns == ("benchmark", "model", "failed", "agent", "user", "tool", "task", "for example")
    assert blame.rows[0].cells == ("heldout", "a", "3", "2", "1", "0", "0", "user: it left (unseen t2)")
    assert blame.rows[1].cells[:5] == ("heldout", "b", "4", "2", "2")
    assert blame.rows[1].filter == {"benchmark": "heldout", "model": "b", "outcome": "failed"}


def test_axes_lead_to_the_trials_of_their_row(tmp_path: Path) -> None:
    axes = {"varied": "", "databases": "unseen_databases", "kind": "plain"}
    records = [
        trial("heldout", "unseen_databases", "t1", 0, True, model="a", axes=axes),
        trial(
            "heldout",
            "unseen_databases,kind=changed",
            "t1",
            0,
            False,
            model="a",
            axes=axes | {"varied": "kind", "kind": "changed"},
        ),
    ]
    rows = {row.cells[1]: row for row in table(sections(evaluation(tmp_path, records)), "By kind").rows}
    assert rows["plain"].cells[-1].startswith("–")  # Pass^2 of one trial
    assert rows["changed"].filter == {
        "category": "unseen_databases,kind=changed",
        "databases": "unseen_databases",
        "kind": "changed",
        "model": "a",
    }


def test_an_unfinished_run_shows_the_trials_of_its_journals_and_what_is_missing(tmp_path: Path) -> None:
    with open_run(tmp_path, "evaluate", CONFIG) as run:
        pass
    journal = run.directory / "a" / "heldout" / "trials.jsonl"
    served = [r.model_copy(update={"model": "served"}) for r in RECORDED if r.model == "a" and r.task_id != "t3"]
    write_jsonl(journal, served[:3])
    page = sections(run.directory)
    notices = [notice.text for notice in of_kind(page, Notice)]
    assert "is not finished" in notices[0]
    assert notices[1].startswith("Missing trials: 1, of tasks")
    (grid,) = of_kind(page, Grid)
    assert grid.models == ("a",)  # not the name that its server used
    assert [cell.outcome for cell in grid.rows[1].cells[0]] == ["passed", "missing"]


def test_a_run_without_trials_says_so(tmp_path: Path) -> None:
    with open_run(tmp_path, "evaluate", CONFIG) as run:
        pass
    page = sections(run.directory)
    assert [section.key for section in page] == ["evaluation"]
    assert "No trial is recorded yet." in [notice.text for notice in of_kind(page, Notice)]


def test_a_model_that_answers_nothing_is_named(tmp_path: Path) -> None:
    silent = [
        trial("heldout", "unseen", task, 0, False, model="silent", completion_tokens=1 if task else 50)
        for task in range(4)
    ]
    talking = [trial("heldout", "unseen", task, 0, False, model="b", completion_tokens=40) for task in range(4)]
    _, *notices = [notice.text for notice in of_kind(sections(evaluation(tmp_path, silent + talking)), Notice)]
    assert notices == [
        "silent answered nothing at all in 3 of 4 trials of heldout. Its scores there are those of silence, which is right "
        "where no tool fits and wrong elsewhere."
    ]


def test_tasks_are_in_their_natural_order(tmp_path: Path) -> None:
    recorded = [trial("heldout", "unseen", name, 0, True, model="a") for name in ("t10", "t9", "s-2", "t9-b")]
    (grid,) = of_kind(sections(evaluation(tmp_path, recorded)), Grid)
    assert [row.task for row in grid.rows] == ["s-2", "t9", "t9-b", "t10"]
