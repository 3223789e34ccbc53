"""make status: states, lineage, sizes, and that it writes nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from core.settings import UserError
from scripts.outputs import age, descendants, find_runs, nearest, parents
from scripts.status import show_status
from tests.scripts.helpers.descending_runs import everything_below, interrupted_run, running_run, three_runs


def printed(outputs: Path) -> list[str]:
    console = Console(width=200, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    show_status(console, outputs)
    return [line.rstrip() for line in console.export_text().splitlines() if line.strip()]


def test_a_running_run_is_told_from_an_interrupted_one(tmp_path: Path) -> None:
    generation, *_ = three_runs(tmp_path)
    stopped = interrupted_run(tmp_path, "train")
    with running_run(tmp_path, "generate") as running:
        states = {run.directory: run.state for run in find_runs(tmp_path)}
        assert states[running] == "running"
        assert states[stopped] == "interrupted"
        assert states[generation] == "finished"
    assert {run.directory: run.state for run in find_runs(tmp_path)}[running] == "interrupted"


def test_runs_descend_from_those_that_their_manifests_name(tmp_path: Path) -> None:
    generation, training, evaluation = (path.name for path in three_runs(tmp_path))
    above = parents(find_runs(tmp_path))
    assert above == {
        generation: frozenset(),
        training: {generation},
        evaluation: {generation, training},
    }
    assert nearest(evaluation, above) == [training]
    assert descendants(generation, above) == sorted([training, evaluation])


def test_an_unfinished_evaluation_descends_from_the_trainings_of_its_group(tmp_path: Path) -> None:
    generation, training, _ = three_runs(tmp_path)
    waiting = interrupted_run(tmp_path, "evaluate", group=generation.name)
    assert parents(find_runs(tmp_path))[waiting.name] == {generation.name, training.name}


def test_each_run_stands_below_the_one_that_it_was_made_from(tmp_path: Path) -> None:
    generation, training, evaluation = three_runs(tmp_path)
    other = interrupted_run(tmp_path, "generate")
    lines = [line for line in printed(tmp_path) if line.lstrip().startswith(("generate", "train", "evaluate"))]
    rows = {name: line for line in lines for name in [line.split()[1]]}
    assert [line.split()[1] for line in lines[:3]] == [generation.name, training.name, evaluation.name]
    assert [len(line) - len(line.lstrip()) for line in lines[:3]] == [1, 3, 5]
    assert "latest" in rows[generation.name]
    assert "latest" not in rows[other.name]
    assert rows[evaluation.name].endswith(training.name)
    manifest = (generation / "manifest.json").stat().st_size
    assert f" {(1000 + manifest) / 1000:.1f} kB" in rows[generation.name]
    assert "cache 0 bytes" in printed(tmp_path)[-1]


def test_status_writes_nothing(tmp_path: Path) -> None:
    three_runs(tmp_path)
    interrupted_run(tmp_path, "generate")
    before = everything_below(tmp_path)
    printed(tmp_path)
    assert everything_below(tmp_path) == before


def test_broken_runs_and_links_are_told(tmp_path: Path) -> None:
    generation, training, _ = three_runs(tmp_path)
    (training / "manifest.json").write_text(json.dumps({"run_id": "old"}))
    (generation / "manifest.json").unlink()
    generation.rename(tmp_path / "elsewhere")
    text = "\n".join(printed(tmp_path))
    assert "unreadable" in text
    assert f"{training}/manifest.json is not a run manifest" in text
    assert f"{tmp_path}/generate/latest links to {generation.name}, which is gone" in text


def test_without_outputs_the_error_names_the_directory(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"outputs=.*none: there is no such directory"):
        show_status(Console(), tmp_path / "none")
    assert printed(tmp_path) == [f"no runs under {tmp_path}"]


@pytest.mark.parametrize(
    ("passed", "text"),
    [
        (timedelta(minutes=5, seconds=30), "5 min"),
        (timedelta(hours=3, minutes=1), "3 h"),
        (timedelta(hours=47, minutes=59), "47 h"),
        (timedelta(days=12, hours=1), "12 d"),
    ],
)
def test_ages_are_short(passed: timedelta, text: str) -> None:
    assert age(datetime.now(UTC) - passed) == text
