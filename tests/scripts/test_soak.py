"""make soak, with few kills."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from scripts import soak


@pytest.mark.slow
def test_a_killed_run_ends_with_the_files_of_an_undisturbed_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert soak.soak(kills=3, n=120, seed=1)
    assert "killed 3 times" in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_that_ends_before_its_kills_is_compared_anyway(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(outputs: Path, n: int, *_: Any) -> bool:
        subprocess.run(soak.command(outputs, n), check=True, stdout=subprocess.DEVNULL)
        return False

    monkeypatch.setattr(soak, "kill_once", too_late)
    assert soak.soak(kills=2, n=2, seed=1)
    assert "the run ended before the other 2 kills" in capsys.readouterr().out
