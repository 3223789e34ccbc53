"""make export end to end: a complete run, its console output, and mistakes that end in one clear message."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import datasets
import pytest

from core.manifest import read_manifest
from core.settings import UserError
from generation.export.report import Report
from scripts import export as export_script
from scripts import generate as generate_script
from scripts.launch import distribute
from tests.helpers.paths import ROOT
from tests.scripts.helpers.export_runs import run_stage

BENCHMARKS = "benchmarks=[tau2]"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An outputs folder with a generation run of two pipelines, one of which contains a duplicate dialogue."""
    outputs = tmp_path_factory.mktemp("outputs")
    generation = run_stage(
        generate_script,
        "generate",
        outputs,
        "profile=tiny",
        "n=8",
        "domains.names=[gym,library]",
        "tracking.mode=disabled",
    )
    path = generation / "user_oriented" / "dialogues.jsonl"
    lines = path.read_text().splitlines()
    again = json.loads(lines[0]) | {"dialogue_id": "user_oriented-9999999"}
    path.write_text("\n".join([*lines, json.dumps(again)]) + "\n")
    return outputs


def files(directory: Path) -> dict[str, bytes]:
    """Read all files except the lock and the manifest, which contains times."""
    paths = [
        path for path in sorted(directory.rglob("*")) if path.is_file() and path.name not in ("manifest.json", ".lock")
    ]
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


def test_exporting_a_run_twice_gives_equal_bytes(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = run_stage(export_script, "export", outputs, BENCHMARKS)
    console_text = capsys.readouterr().out
    second = run_stage(export_script, "export", outputs, BENCHMARKS)
    assert first != second
    assert files(first) == files(second)
    report = Report.model_validate_json((first / "report.json").read_text())
    generated = (outputs / "generate" / "latest").resolve()
    assert report.run == generated.name
    for name, counts in report.pipelines.items():
        assert counts.read == len((generated / name / "dialogues.jsonl").read_text().splitlines())
        assert counts.kept == counts.read - (name == "user_oriented")
        assert counts.removed == ({"calls": 1} if name == "user_oriented" else {})
    removed = json.loads((first / "removed.jsonl").read_text())
    assert removed["dialogue_id"] == "user_oriented-9999999"
    assert "calls 1" in console_text
    assert f"written to {first}" in console_text.replace("\n", "")
    manifest = read_manifest(first)
    assert manifest.group == read_manifest(generated).group
    assert set(manifest.inputs) == {*(f"{name}/dialogues.jsonl" for name in report.pipelines), "tau2"}
    read = datasets.load_dataset(str(first), cache_dir=str(outputs / "cache"))
    assert {name: len(split) for name, split in read.items()} == {n: c.kept for n, c in report.pipelines.items()}


def test_an_interrupted_export_is_resumed(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_off(*arguments: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    finished = run_stage(export_script, "export", outputs, BENCHMARKS, "dedup.shingle=3")
    monkeypatch.setattr("generation.export.sft.write_parquet", break_off)
    with pytest.raises(KeyboardInterrupt):
        run_stage(export_script, "export", outputs, BENCHMARKS, "dedup.shingle=3")
    assert (outputs / "export" / "latest").resolve() == finished
    (unfinished,) = [d for d in (outputs / "export").glob("2*") if read_manifest(d).status == "running"]
    monkeypatch.undo()
    assert run_stage(export_script, "export", outputs, BENCHMARKS, "dedup.shingle=3") == unfinished
    assert files(unfinished) == files(finished)


def test_a_single_file_outside_a_run_is_exported(outputs: Path, tmp_path: Path) -> None:
    path = shutil.copy(outputs / "generate" / "latest" / "task_oriented" / "dialogues.jsonl", tmp_path / "mine.jsonl")
    exported = run_stage(export_script, "export", tmp_path, "benchmarks=[]", f"data={path}")
    assert Report.model_validate_json((exported / "report.json").read_text()).run == "mine"
    assert "The data was not compared with any benchmark." in (exported / "README.md").read_text()


def test_it_is_uploaded_only_on_request(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed: list[tuple[Path, str, bool]] = []
    monkeypatch.setattr(export_script, "push", lambda *arguments: pushed.append(arguments) or "https://hub")
    run_stage(export_script, "export", outputs, "benchmarks=[]")
    assert pushed == []
    exported = run_stage(export_script, "export", outputs, "benchmarks=[]", "push_to_hub=org/name", "private=false")
    assert pushed == [(exported, "org/name", False)]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=/nowhere"], "data=/nowhere was given"),
        (["bfcl=/nowhere"], r"bfcl=/nowhere was given.*make setup"),
        (["benchmarks=[gsm8k]"], "benchmarks.0"),
        (["contamination.texts=keep"], "contamination.texts"),
        (["dedup.threshold=2"], "dedup.threshold"),
        (["held_out=/nowhere", "benchmarks=[]"], "held_out=/nowhere was given"),
    ],
)
def test_mistakes_are_named_before_anything_is_written(outputs: Path, overrides: list[str], message: str) -> None:
    before = sorted((outputs / "export").glob("*"))
    with pytest.raises(UserError, match=message):
        run_stage(export_script, "export", outputs, *overrides)
    assert sorted((outputs / "export").glob("*")) == before


def test_without_a_generation_run_it_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run `make generate` first"):
        run_stage(export_script, "export", tmp_path)


def test_make_has_the_goal_and_distributes_its_keys() -> None:
    shares = distribute(["generate", "export"], ["n=3", "dedup.threshold=0.7", "seed=2"])
    assert shares == {"generate": ["n=3", "seed=2"], "export": ["dedup.threshold=0.7"]}
    shown = subprocess.run(
        ["make", "-n", "export", "push_to_hub=a/b"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "scripts.launch --goals \"export\" export -- 'push_to_hub=a/b'" in shown.stdout
