"""make convert: from a file in a public format to training data."""

from __future__ import annotations

import json
from pathlib import Path

import hydra
import pytest

from core.manifest import read_manifest
from core.runs import latest
from core.settings import UserError
from scripts.convert import main
from scripts.launch import CONF
from training.mixture import MixtureSettings, find_data, mix


def run(*overrides: str) -> None:
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        main(hydra.compose("convert", list(overrides)))


def test_a_converted_file_can_be_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    turns = [{"from": "human", "value": "Hello {}."}, {"from": "gpt", "value": "Hello."}]
    rows = [
        {"conversations": [{**turns[0], "value": f"Hello, I am {n}."}, turns[1]], "tools": "[]", "system": "Be kind."}
        for n in range(40)
    ]
    rows.append({"conversations": turns[1:], "tools": "[]", "system": ""})
    file = tmp_path / "apigen-mt_5k.json"
    file.write_text(json.dumps(rows))
    run("source=apigen", f"source.path={file}", f"outputs={tmp_path}")
    directory = latest(tmp_path, "convert", "make convert")
    results = read_manifest(directory).results
    assert results["rows"] == 41
    assert results["dialogues"] == 40
    assert results["refused"] == {"empty": 1}
    assert set(read_manifest(directory).inputs) == {"apigen-mt_5k.json"}
    shown = capsys.readouterr().out
    assert "refused: empty" in shown
    assert f"make train data={directory} mixture=apigen" in shown.replace("\n", "")
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        settings = MixtureSettings.model_validate(dict(hydra.compose("train", ["mixture=apigen"]).mixture))
    mixture = mix(find_data(directory), settings, seed=0)
    assert (len(mixture.train), len(mixture.validation)) == (38, 2)


def test_nothing_to_train_on_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"uuid": "a", "license": "x", "messages": [], "metadata": "{}"}) + "\n")
    with pytest.raises(UserError, match="none of the 1 rows"):
        run("source=nemotron", f"source.path={file}", f"outputs={tmp_path}")
