"""make clean: what it would remove, what it removes with yes=true, and what it never does."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from core.runs import newest_run
from core.settings import UserError
from scripts.clean import CleanSettings, Removal, main, plan_removal, remove
from scripts.outputs import find_runs
from tests.scripts.helpers.descending_runs import everything_below, interrupted_run, running_run, three_runs


def plan(outputs: Path, *run: Path, descendants: bool = False) -> Removal:
    return plan_removal(CleanSettings(outputs=outputs, run=run, descendants=descendants))


def clean(outputs: Path, *words: str) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    main([f"outputs={outputs}", *words], console)
    return console.export_text()


def test_without_yes_nothing_is_removed(tmp_path: Path) -> None:
    _, _, evaluation = three_runs(tmp_path)
    before = everything_below(tmp_path)
    text = clean(tmp_path, "descendants=true")
    assert everything_below(tmp_path) == before
    assert str(evaluation) in text
    assert "would be removed, nothing was" in text


def test_sizes_are_those_of_the_files(tmp_path: Path) -> None:
    generation, *_ = three_runs(tmp_path)
    removed = plan(tmp_path, generation, descendants=True).removed
    assert removed[generation] == 1000 + (generation / "manifest.json").stat().st_size


def test_runs_from_which_others_descend_stay(tmp_path: Path) -> None:
    generation, training, evaluation = three_runs(tmp_path)
    (tmp_path / "tables").mkdir()
    (tmp_path / "seeds").mkdir()
    (tmp_path / "cache" / "models" / "unused").mkdir()
    removal = plan(tmp_path)
    assert set(removal.removed) == {evaluation, tmp_path / "tables", tmp_path / "cache" / "models" / "unused"}
    assert set(removal.kept) == {
        generation,
        training,
        tmp_path / "seeds",
        tmp_path / "cache" / "models" / "needed",  # the training links to it
    }
    assert removal.kept[training].startswith(f"{evaluation.name} descends from it")


def test_with_descendants_everything_goes(tmp_path: Path) -> None:
    three_runs(tmp_path)
    (tmp_path / "seeds").mkdir()
    (tmp_path / "registry.jsonl").write_text("")
    clean(tmp_path, "descendants=true", "yes=true")
    assert find_runs(tmp_path) == []
    assert newest_run(tmp_path, "train") is None  # no dangling link
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_removed_alone_or_with_what_was_made_from_it(tmp_path: Path) -> None:
    generation, training, evaluation = three_runs(tmp_path)
    other = interrupted_run(tmp_path, "generate")
    assert plan(tmp_path, training).removed == {}
    assert set(plan(tmp_path, evaluation).removed) == {evaluation}
    assert set(plan(tmp_path, tmp_path / "train" / "latest", descendants=True).removed) == {training, evaluation}
    clean(tmp_path, f"run={training}", "descendants=true", "yes=true")
    assert {run.directory for run in find_runs(tmp_path)} == {generation, other}
    assert (tmp_path / "cache" / "models" / "needed").is_dir()  # only runs were named
    assert newest_run(tmp_path, "generate") == generation.resolve()


def test_a_running_run_and_its_ancestors_stay_and_so_do_caches(tmp_path: Path) -> None:
    generation, training, evaluation = three_runs(tmp_path)
    with running_run(tmp_path, "generate") as running:
        removal = plan(tmp_path, descendants=True)
        assert removal.kept[running] == "a process is working on it"
        assert set(removal.removed) == {generation, training, evaluation}
        assert removal.kept[tmp_path / "cache" / "models" / "needed"] == "a run is running and may use it"
        text = clean(tmp_path, f"run={running}", "yes=true")
        assert "kept" in text
        assert running.is_dir()
    manifest = generation / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"status": "finished"', '"status": "running"'))
    assert generation in plan(tmp_path, descendants=True).removed


def test_the_ancestors_of_a_running_run_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generation, _, evaluation = three_runs(tmp_path)
    manifest = evaluation / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"status": "finished"', '"status": "running"'))
    monkeypatch.setattr("scripts.outputs.is_locked", lambda directory: directory == evaluation)
    removal = plan(tmp_path, descendants=True)
    assert removal.removed == {}
    assert removal.kept[generation] == f"{evaluation.name} descends from it and is running"


def test_a_run_that_a_process_takes_up_meanwhile_stays(tmp_path: Path) -> None:
    with running_run(tmp_path, "generate") as running:
        removal = Removal(removed={running: 1})
        remove(removal, tmp_path)
        assert removal.removed == {}
        assert running.is_dir()


def test_another_experiments_runs_are_found_and_stay_with_their_ancestors(tmp_path: Path) -> None:
    generation, training, evaluation = three_runs(tmp_path / "ablations" / "runs")
    (tmp_path / "ablations" / "table_3").mkdir()
    removal = plan(tmp_path)
    assert {evaluation, tmp_path / "ablations" / "table_3"} <= set(removal.removed)
    assert {generation, training} <= set(removal.kept)


@pytest.mark.parametrize("folder", ["checkout", "other"])
def test_a_directory_without_runs_is_never_cleaned(tmp_path: Path, folder: str) -> None:
    place = tmp_path / folder
    (place / "precious").mkdir(parents=True)
    if folder == "checkout":
        (place / ".git").mkdir()
        three_runs(place)
    with pytest.raises(UserError, match="expected the directory of runs"):
        plan(place)


def test_an_unknown_run_is_refused_with_a_hint(tmp_path: Path) -> None:
    generation, *_ = three_runs(tmp_path)
    with pytest.raises(UserError, match=f"is not a run; did you mean '{generation}'"):
        plan(tmp_path, generation.with_name(generation.name[:-1]))


def test_links_are_removed_but_not_followed(tmp_path: Path) -> None:
    three_runs(tmp_path / "outputs")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("precious")
    (tmp_path / "outputs" / "wandb").symlink_to(tmp_path / "elsewhere")
    clean(tmp_path / "outputs", "descendants=true", "yes=true")
    assert (tmp_path / "elsewhere" / "file").read_text() == "precious"
    assert not (tmp_path / "outputs" / "wandb").is_symlink()
