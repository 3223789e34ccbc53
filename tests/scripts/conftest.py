"""What several tests of the scripts need: runs whose lines do not depend on the commit, and a tiny model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT


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
