"""make generate train eval profile=gpu plan=true on a machine without a GPU, models and runs."""

from __future__ import annotations

import json
from pathlib import Path

import hydra
import pytest
from omegaconf import DictConfig

from scripts import evaluate, generate, train
from scripts.launch import CONF

STAGES = {"generate": generate.main, "train": train.main, "evaluate": evaluate.main}


def composed(stage: str, outputs: Path) -> DictConfig:
    sample = {"generate": ["assume.sample=2", "domains.names=[gym,clinic]"]}.get(stage, [])
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return hydra.compose(stage, ["profile=gpu", "plan=true", f"outputs={outputs}", *sample])


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_says_what_it_takes(stage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    STAGES[stage](composed(stage, tmp_path))
    printed = capsys.readouterr().out
    assert "assumed: " in printed
    assert "memory" in printed
    assert "hours" in printed or " h per epoch" in printed
    assert "plan" in {path.name for path in tmp_path.iterdir()} <= {"plan", "seeds"}, "nothing was run"
    written = json.loads((tmp_path / "plan" / f"{stage}.json").read_text())
    assert written
