"""Fixtures of several script tests: runs whose lines do not depend on the commit, a tiny model, exported tasks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from core.journal import read_jsonl
from generation.worlds.task_line import TaskLine
from scripts import generate as generate_script
from tests.helpers.paths import ROOT
from tests.scripts.helpers.export_runs import export, run_stage


@pytest.fixture
def no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line records the commit, which must not change during a test."""
    monkeypatch.setenv("GIT_DIR", "/nonexistent")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a tiny model and its tokenizer."""
    directory = tmp_path_factory.mktemp("tiny")
    script = ROOT / "tests" / "generation" / "helpers" / "tiny_qwen3.py"
    subprocess.run([sys.executable, str(script), str(directory)], check=True, capture_output=True)
    return directory


@pytest.fixture(scope="session")
def executed_outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generation run with policies and every kind of request. The full system message states the time, which tells
    the dialogues apart."""
    outputs = tmp_path_factory.mktemp("outputs")
    prompts = "variety.system_prompts={full: 1.0, brief: 0.0, rules_first: 0.0, none: 0.0}"
    options = ("profile=small", "pipeline=user_oriented_exec", "n=16", "domains.names=[clinic,gym,library]", prompts)
    run_stage(generate_script, "generate", outputs, *options, "policy_rules=6", "tracking.mode=disabled", "report=null")
    return outputs


@pytest.fixture(scope="session")
def exported(executed_outputs: Path) -> Path:
    """An export of its tasks for verifiers and inspect."""
    return export(executed_outputs, "as=[sft,rl,inspect]")


@pytest.fixture(scope="session")
def worlds_folder(exported: Path) -> Path:
    return exported / "inspect/worlds"


@pytest.fixture(scope="session")
def task_lines(worlds_folder: Path) -> list[TaskLine]:
    return list(read_jsonl(worlds_folder / "tasks.jsonl", TaskLine))
