"""A run of two pipelines, exported."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.journal import write_jsonl
from generation.export.index import find_dialogues
from generation.export.report import Report
from tests.generation.helpers.exports import (
    DIALOGUES,
    exported,
)


@pytest.fixture
def run(tmp_path: Path) -> tuple[Path, Report]:
    """A run of two pipelines, exported."""
    for name in ("user_oriented", "exec"):
        write_jsonl(tmp_path / "run" / name / "dialogues.jsonl", [line for line in DIALOGUES if line.pipeline == name])
    return tmp_path / "out", exported(find_dialogues(tmp_path / "run"), tmp_path / "out")
