"""The evaluation stage from config to tables, against a server that is ill at first."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import pytest
from replay import Brain, ReplayServer, say

from scripts.evaluate import stage
from scripts.launch import CONF


def test_a_run_with_lost_trials_stays_open_and_the_same_command_ends_it(
    serve: Callable[[Brain], ReplayServer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ill = True

    def brain(body: dict[str, Any]) -> dict[str, Any]:
        return {"status": 501, "message": "not today"} if ill else say("I am here to help.")

    server = serve(brain)
    held = {"dialogues": 2, "categories": "[unseen_databases]", "seeds_cache": tmp_path / "seeds"}
    overrides = [
        "benchmark=[heldout]",
        "trials=1",
        "ks=[1]",
        f"base_url={server.base_url}",
        f"outputs={tmp_path}",
        "tracking.mode=disabled",
        *(f"benchmarks.heldout.{key}={value}" for key, value in held.items()),
    ]
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        config = hydra.compose("evaluate", overrides)
    with pytest.raises(SystemExit) as ended:
        stage(config)
    assert ended.value.code == 1
    assert "2 trials were lost" in capsys.readouterr().out
    assert not (tmp_path / "evaluate" / "latest").exists()
    ill = False
    stage(config)
    assert "resuming" in capsys.readouterr().out
    runs = [folder for folder in (tmp_path / "evaluate").iterdir() if not folder.is_symlink()]
    assert [folder.name for folder in runs] == [(tmp_path / "evaluate" / "latest").resolve().name]
    (model,) = json.loads((runs[0] / "results.json").read_text())["models"]
    summary = model["benchmarks"]["heldout"]
    assert (summary["trials"], summary["infrastructure_errors"], summary["pass_at"]["1"]["value"]) == (2, 0, 0.0)
    assert "endpoint (ours)" in (tmp_path / "tables" / "tables.md").read_text()
