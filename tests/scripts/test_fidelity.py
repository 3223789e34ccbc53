"""make fidelity end to end: its files, its determinism, and that nothing of the reference's text is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from core.journal import write_jsonl
from core.manifest import read_manifest
from core.settings import UserError
from generation.metrics.fidelity import Fidelity
from scripts import fidelity
from scripts.launch import CONF
from tests.generation.helpers.vet_dialogues import GOOD, changed, talk
from tests.helpers.paths import SHARED_DATA

SGD = SHARED_DATA / "sgd" / "dialogues_001.json"
WORD = "xylophonically"


def run(outputs: Path, *overrides: str) -> Path:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        fidelity.main(compose("fidelity", [f"outputs={outputs}", "resampling.resamples=30", *overrides]))
    return (outputs / "fidelity" / "latest").resolve()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "run" / "user_oriented"
    write_jsonl(folder / "dialogues.jsonl", [talk(*GOOD), talk(*changed(2, "U Fine."), dialogue_id="e")])
    return tmp_path / "run"


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    turns = [("USER", f"Book {WORD}."), ("SYSTEM", f"{WORD.upper()} it is."), ("USER", "Thanks.")]
    spoken = [{"turns": [{"speaker": who, "utterance": text} for who, text in turns[:length]]} for length in (2, 3)]
    (tmp_path / "people.json").write_text(json.dumps([*spoken, {"service_name": "Tables_1"}]))
    return tmp_path / "people.json"


def test_a_comparison_is_shown_and_written_without_any_text_of_the_reference(
    data: Path, reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = run(tmp_path / "outputs", f"data={data}", f"reference={reference}")
    printed = capsys.readouterr().out
    assert "user turns per dialogue" in printed
    assert "reference: 2 dialogues, 3 user messages" in printed
    assert "left out 1: no message of a user (people.json, dialogue 2)" in printed
    written = Fidelity.model_validate_json((directory / "fidelity.json").read_text())
    turns, words = written.metrics[:2]
    assert (turns.generated_mean, turns.reference_mean) == (4.0, 1.5)
    assert words.reference_mean == pytest.approx(5 / 3, abs=1e-4)
    assert (
        "| user turns per dialogue | 4.00 (4, 4, 4) | 1.50 (1, 1, 2) | +2.50 |"
        in (directory / "fidelity.md").read_text()
    )
    assert {path.name for path in directory.iterdir()} == {
        *(f"fidelity.{ending}" for ending in ("json", "md", "png", "pdf")),
        "manifest.json",
        ".lock",
    }
    assert (directory / "fidelity.png").read_bytes().startswith(b"\x89PNG")
    for path in directory.iterdir():
        assert WORD.encode() not in path.read_bytes().lower(), path
    assert read_manifest(directory).results == written.model_dump(mode="json")


def test_the_same_data_give_the_same_bytes_wherever_they_are(data: Path, reference: Path, tmp_path: Path) -> None:
    first = run(tmp_path / "outputs", f"data={data}", f"reference={reference}")
    moved = tmp_path / "elsewhere"
    shutil.copytree(data, moved / "run")
    second = run(moved / "outputs", f"data={moved / 'run'}", f"reference={reference}")
    for name in ("fidelity.json", "fidelity.md", "fidelity.png", "fidelity.pdf"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    assert read_manifest(first).fingerprint == read_manifest(second).fingerprint


def test_a_missing_reference_is_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.json was given; expected"):
        run(tmp_path / "outputs", f"data={data}", f"reference={tmp_path / 'none.json'}")


@pytest.mark.skipif(not SGD.is_file(), reason="no ../shared/data/sgd here")
def test_a_dev_file_of_the_schema_guided_dialogue_set_is_a_reference(data: Path, tmp_path: Path) -> None:
    directory = run(tmp_path / "outputs", f"data={data}", f"reference={SGD}")
    written = Fidelity.model_validate_json((directory / "fidelity.json").read_text())
    raw = json.loads(SGD.read_text())
    said = [turn["utterance"] for conversation in raw for turn in conversation["turns"] if turn["speaker"] == "USER"]
    assert (written.reference_dialogues, written.reference_messages) == (len(raw), len(said))
    assert written.metrics[1].reference_mean == pytest.approx(
        sum(len(text.split()) for text in said) / len(said), abs=1e-3
    )
