"""Stages as commands: each distinct one runs once, and an unfinished or different one is not taken for it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.runs import open_run
from scripts import stage_runs
from scripts.stage_runs import finished_run, merge_overrides, run_stage


def make_run(outputs: Path, words: Sequence[str], finish: bool = True) -> Path:
    """A run of the stage `train` as if started with these words."""
    argv, sys.argv = sys.argv, ["train", "hydra.run.dir=.", *words]
    try:
        with open_run(outputs, "train", {"words": [*words]}) as job:
            if finish:
                job.finish({})
    finally:
        sys.argv = argv
    return job.directory


def test_a_run_is_found_by_its_command_if_it_is_finished(tmp_path: Path) -> None:
    run = make_run(tmp_path, ["a=1", "b=2"])
    make_run(tmp_path, ["a=1", "c=3"], finish=False)
    assert finished_run(tmp_path, "train", ["a=1", "b=2"]) == run
    assert finished_run(tmp_path, "train", ["a=1"]) is None
    assert finished_run(tmp_path, "train", ["a=1", "c=3"]) is None
    assert finished_run(tmp_path, "evaluate", ["a=1", "b=2"]) is None
    (run / "manifest.json").write_text(json.dumps({"of": "another version"}))
    assert finished_run(tmp_path, "train", ["a=1", "b=2"]) is None


def test_jobs_that_need_the_same_stage_wait_for_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    def run(command: Sequence[str], log: Path) -> tuple[int, int]:
        words = list(command[3:])
        started.append(words)
        time.sleep(0.3)  # long enough for the other jobs to come
        make_run(tmp_path, words)
        return 0, 0

    monkeypatch.setattr(stage_runs, "_run", run)
    with ThreadPoolExecutor(4) as pool:
        results = [*pool.map(lambda _: run_stage(tmp_path, "train", ["seed=1"], tmp_path / "log"), range(4))]
    assert started == [[f"outputs={tmp_path}", "seed=1"]]
    assert len({directory for directory, _ in results}) == 1
    assert sorted(there for _, there in results) == [False, True, True, True]


def test_a_later_override_replaces_an_earlier_one_of_its_key() -> None:
    assert merge_overrides(["n=1", "pipeline=all"], ["n=2"], ["a.b=3"]) == ("pipeline=all", "n=2", "a.b=3")
