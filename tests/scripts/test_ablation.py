"""make ablation: what its experiments say and run, and a real chain that is killed, resumed and run by joblib."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import hydra
import pytest

from core.settings import UserError, typed
from evaluation.ablation.registry import read_registry
from evaluation.ablation.settings import AblationSettings
from evaluation.reports.paper import TABLE_2, TABLE_2_COLUMNS, TABLE_3
from evaluation.targets import EvaluateSettings
from generation.export.export import ExportSettings
from generation.run import GenerateSettings
from scripts.ablation import experiments, read_experiment
from scripts.ablation_cell import cell_words
from scripts.launch import CONF, command
from scripts.stage_runs import run_stage
from training.settings import TrainSettings

NAMES = sorted(path.stem for path in (CONF / "ablation").glob("*.yaml"))
OTHER_PROFILES = [("table_3", "cpu"), ("reasoning", "small"), ("partial_views", "gpu")]
STAGE_SETTINGS = {
    "generate": GenerateSettings,
    "export": ExportSettings,
    "train": TrainSettings,
    "evaluate": EvaluateSettings,
}


@cache
def experiment(name: str, *words: str) -> AblationSettings:
    return read_experiment([f"ablation={name}", *words])


@pytest.mark.parametrize(("name", "profile"), [*((name, "tiny") for name in NAMES), *OTHER_PROFILES])
def test_every_cell_composes_in_every_stage(name: str, profile: str) -> None:
    export = 'common.export=["dedup.threshold=0.9"]' if name == "scale" else "alpha=0.05"
    settings = experiment(name, f"profile={profile}", export)
    assert settings.experiment == name
    chains = [cell_words(settings, cell, seed=3).items() for cell in settings.cells.values()]
    for stage, words in dict.fromkeys(pair for chain in chains for pair in chain):
        with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            config = hydra.compose(stage, [*words])
        typed(config, STAGE_SETTINGS[stage])
        assert config.get("train_tokens") == (settings.budget if stage == "train" else None)
        assert (stage in settings.seeded) == (config.get("seed") == 3)


@pytest.mark.parametrize("name", NAMES)
def test_cells_differ_and_claims_have_something_to_compare(name: str) -> None:
    settings = experiment(name)
    words = [
        json.dumps([cell_words(settings, cell, 0), cell.model, cell.requires_data]) for cell in settings.cells.values()
    ]
    assert len(set(words)) == len(words)
    assert len({claim.key for claim in settings.claims}) == len(settings.claims) > 0


def test_the_papers_differences_are_those_of_its_tables() -> None:
    outcomes = dict(
        zip(
            TABLE_2_COLUMNS,
            (
                "bfcl_multi_turn",
                "bfcl_live",
                "bfcl_non_live",
                "bfcl_relevance",
                "bfcl_irrelevance",
                "tau2_airline",
                "tau2_retail",
                "tau2_telecom",
            ),
            strict=True,
        )
    )
    scores = {name: dict(zip(outcomes.values(), row, strict=True)) for name, row in TABLE_2}
    rows = {"ours": "{} + OURS", "apigen": "{} + APIGEN", "nemotron": "{} + NEMOTRON"}
    bases = {"Qwen3-4B": "Qwen3-4B-Thinking-2507", "Qwen3-30B": "Qwen3-30B-A3B-Thinking-2507"}
    for claim in experiment("table_2").claims:
        for model, points in claim.paper.items():
            first, second = (rows.get(cell, bases[model]).format(model) for cell in (claim.cell, claim.against))
            assert points == pytest.approx(scores[first][claim.outcome] - scores[second][claim.outcome])
    cells = dict(zip(("task_oriented", "user_oriented", "user_oriented_exec"), TABLE_3.values(), strict=True))
    for claim in experiment("table_3").claims:
        column = {"bfcl_multi_turn": 1, "tau2_telecom": 2}.get(claim.outcome)
        for model, points in claim.paper.items():
            first, second = (
                next(row for row in cells[cell] if row[0] == model) for cell in (claim.cell, claim.against)
            )
            assert column
            assert points == pytest.approx(first[column] - second[column])


def test_overrides_of_a_cell_replace_those_of_all_cells_by_key() -> None:
    settings = experiment("scale", 'common.generate=["n=7","seed=9"]')
    assert "n=50" in cell_words(settings, settings.cells["n_50"], 3)["generate"]
    assert "n=7" not in cell_words(settings, settings.cells["n_50"], 3)["generate"]
    assert "seed=3" in cell_words(settings, settings.cells["n_50"], 3)["generate"]


def test_several_experiments_and_a_launcher_are_one_command_that_sweeps_by_itself() -> None:
    assert experiments(["ablation=a,b", "budget=5"]) == [("ablation=a", "budget=5"), ("ablation=b", "budget=5")]
    assert "--multirun" not in command("ablation", ["ablation=table_3,rules", "hydra/launcher=joblib"])
    with pytest.raises(UserError, match="planing"):
        experiment("table_3", "+planing.difference=3")


def test_a_failed_stage_says_why_and_is_not_taken_for_done(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(UserError, match=r"generate ended with code 2(.|\n)*no_such_key"):
            run_stage(tmp_path / "runs", "generate", ["+no_such_key=1"], tmp_path / "log")


TINY = (
    "ablation=reasoning",
    "profile=tiny",
    "claims=[{cell: served, against: kept, outcome: heldout, expect: more}]",
    "seeds=[0]",
    "budget=3000",
    'common.generate=["n=8","domains.names=[gym,clinic]"]',
    'common.train=["model.tiny.vocabulary=640","mixture.validation_limit=2"]',
    'common.evaluate=["benchmarks.heldout.dialogues=2","sampling.max_tokens=16"]',
)


def start(outputs: Path, *words: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "scripts.ablation", f"outputs={outputs}", *TINY, *words]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


@pytest.mark.slow
def test_a_killed_experiment_is_continued_and_joblib_gives_the_same(tmp_path: Path) -> None:
    """Two cells that share a generation: killed in the first training, then resumed by joblib with two jobs at once."""
    killed = start(tmp_path)
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("ablations/runs/train/*/manifest.json")):
        assert time.monotonic() < deadline
        assert killed.poll() is None, killed.communicate()[0]
        time.sleep(0.2)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    resumed = start(tmp_path, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    text = resumed.communicate()[0]
    assert resumed.returncode == 0, text
    entries = read_registry(tmp_path / "registry.jsonl")
    assert sorted(e.measured.cell for e in entries) == ["kept", "served"]
    assert len({e.runs["generate"].run for e in entries}) == 1
    assert {e.measured.trained_tokens for e in entries} == {3000}
    assert "one seed" in (tmp_path / "ablations/reasoning/report.md").read_text()
    assert "One seed resolves nothing" in (tmp_path / "report/reasoning/index.html").read_text()
    before = (tmp_path / "registry.jsonl").read_bytes()
    again = start(tmp_path)
    text = again.communicate()[0]
    assert again.returncode == 0, text
    assert "known result" in text
    assert (tmp_path / "registry.jsonl").read_bytes() == before
