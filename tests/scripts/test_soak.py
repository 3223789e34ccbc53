"""make soak, with few kills."""

from __future__ import annotations

import pytest

from scripts.soak import soak


@pytest.mark.slow
def test_a_killed_run_ends_with_the_files_of_an_undisturbed_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert soak(kills=3, n=120, seed=1)
    assert "killed 3 times" in capsys.readouterr().out
