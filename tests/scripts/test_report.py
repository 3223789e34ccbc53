"""make report: which runs it shows, and that a stage ends with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from core.manifest import read_manifest
from core.page.contents import Section
from core.runs import open_run
from core.settings import UserError
from core.tracking import Tracker, TrackingSettings
from evaluation.ablation.analysis import analyse
from evaluation.ablation.power_plan import power_plan
from evaluation.ablation.registry import REGISTRY, append
from evaluation.reports.ablation import write_analysis, write_plan
from scripts import report
from scripts.report import (
    ReportSettings,
    drawn_trials,
    environments_of,
    exports_of,
    is_experiment,
    main,
    newest,
    shown_runs,
    with_distinct_keys,
)
from scripts.report_words import ABOUT, WORDS
from scripts.stage_end import end_with_report, try_report
from tests.evaluation.helpers.ablation_entries import entries, settings
from tests.evaluation.helpers.finished_runs import evaluation
from tests.evaluation.helpers.trials import trial
from tests.scripts.helpers.generate_runs import generate


def untracked(outputs: Path) -> Tracker:
    return Tracker(TrackingSettings(mode="disabled"), outputs, "generate", "x", "x")


@pytest.fixture
def chain(tmp_path: Path) -> dict[str, Path]:
    """Two generations, a training of the second one, and an evaluation of the training."""
    runs = {}
    for name in ("other", "generate"):
        with open_run(tmp_path, "generate", {"name": name}) as run:
            run.finish({})
        runs[name] = run.directory
    with open_run(tmp_path, "train", {"data": [str(runs["generate"])]}) as run:
        run.finish({"generations": [runs["generate"].name]})
    runs["train"] = run.directory
    with open_run(tmp_path, "evaluate", {"models": [str(run.directory)]}, group=runs["generate"].name) as run:
        run.finish({})
    return runs | {"evaluate": run.directory}


def test_a_run_is_shown_with_what_it_was_made_from(chain: dict[str, Path]) -> None:
    assert shown_runs(chain["evaluate"]) == [chain["evaluate"], chain["train"], chain["generate"]]
    assert shown_runs(chain["train"]) == [chain["train"], chain["generate"]]
    assert shown_runs(chain["other"]) == [chain["other"]]


def test_exports_of_a_generation_are_found(chain: dict[str, Path], tmp_path: Path) -> None:
    with open_run(tmp_path, "export", {"data": str(chain["generate"])}) as export:
        export.finish({})
    with open_run(tmp_path, "export", {"data": str(chain["other"])}) as other:
        other.finish({})
    assert exports_of(chain["generate"]) == [export.directory]


def test_an_environment_that_cannot_be_made_is_named(
    chain: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    config = {"pipelines": {"mine": {"environment": {"_target_": "no.such.module"}}}}
    manifest = read_manifest(chain["generate"]).model_copy(update={"config": config})
    assert environments_of(manifest, Console(width=500)) == {}
    assert "mine: dialogues are shown without a replay" in capsys.readouterr().out


def test_the_newest_run_of_the_last_stage_is_chosen(chain: dict[str, Path], tmp_path: Path) -> None:
    assert newest(tmp_path) == chain["evaluate"]
    with open_run(tmp_path, "audit", {}) as audit:
        audit.finish({})
    assert newest(tmp_path) == chain["evaluate"]
    with pytest.raises(UserError, match="is of audit; expected a run of evaluate, train, generate"):
        shown_runs(audit.directory)
    with pytest.raises(UserError, match=r"expected: a run directory with a readable manifest\.json"):
        shown_runs(tmp_path / "generate" / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no run to report; make one: make generate"):
        newest(tmp_path / "empty")


def test_sections_of_several_generations_have_anchors_of_their_own() -> None:
    sections = [Section(key=key, title=key, blocks=()) for key in ("data", "data", "training", "data")]
    assert [section.key for section in with_distinct_keys(sections)] == ["data", "data-2", "training", "data-3"]


def test_a_generation_ends_with_its_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = generate(tmp_path, "n=4", "pipeline=user_oriented_exec", "domains.names=[library]", "report=3")
    file = tmp_path / "report" / run.name / "index.html"
    assert f"report: {file}" in capsys.readouterr().out.replace("\n", "")
    text = file.read_text()
    assert "<title>Generated dialogues: user_oriented_exec</title>" in text
    assert ABOUT in text
    assert WORDS["gold call"] in text
    assert "3 of 4 dialogues, drawn at random" in text
    again = main(ReportSettings(outputs=tmp_path, transcripts=9), Console(quiet=True))
    assert again == file
    assert "all 4 dialogues" in file.read_text()
    assert {path.name for path in tmp_path.iterdir()} >= {"generate", "report"}


def test_a_stage_does_not_fail_by_its_report(
    chain: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*arguments: object) -> Path:
        raise ZeroDivisionError("no such luck")

    monkeypatch.setattr(report, "write_report", broken)
    end_with_report(chain["generate"], 5, Console(width=500), untracked(tmp_path))
    assert "the report could not be written (no such luck)" in capsys.readouterr().out
    end_with_report(chain["generate"], None, Console(), untracked(tmp_path))
    assert capsys.readouterr().out == ""


def test_runs_of_an_experiment_have_no_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_run(tmp_path / "ablations" / "runs", "generate", {}) as run:
        run.finish({})
    monkeypatch.setattr(report, "write_report", lambda *arguments: pytest.fail("a report was written"))
    end_with_report(run.directory, 5, Console(), untracked(tmp_path))


def test_an_experiment_has_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = {"good": entries("good", 0.6), "poor": entries("poor", 0.3)}
    directory = tmp_path / "ablations" / "invented"
    write_plan(power_plan(settings(), cells, []), directory)
    write_analysis(analyse(settings(), cells), directory)
    for each in (*cells["good"], *cells["poor"]):
        append(tmp_path / REGISTRY, each)
    run = tmp_path / "ablations" / "runs" / "evaluate" / "evaluate-good-0"
    evaluation(tmp_path, [trial("heldout", "unseen", task, 0, True) for task in range(3)]).rename(make_parent(run))
    file = main(ReportSettings(run=directory, transcripts=2), Console())
    assert file == tmp_path / "report" / "invented" / "index.html"
    assert "2 of 3 trials, drawn at random" in file.read_text()
    main(ReportSettings(run=directory, transcripts=3), Console())
    assert "all 3 trials" in file.read_text()
    assert "good data − poor data, BFCL multi-turn" in file.read_text()
    assert not is_experiment(directory.with_name("runs"))
    assert not is_experiment(run)
    (directory / "results.json").unlink()
    assert try_report(directory, 5, Console(width=500)) is None
    assert f"try: make report run={directory}" in capsys.readouterr().out


def make_parent(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    return path


def test_all_trials_are_drawn_if_they_are_few(tmp_path: Path) -> None:
    with open_run(tmp_path, "evaluate", {}) as run:
        (run.directory / "records.jsonl").write_text("")
        run.finish({})
    assert drawn_trials(run.directory, read_manifest(run.directory), 5, 0) == (frozenset(), "")
