"""Runs whose lines do not depend on the commit."""

from __future__ import annotations

import pytest


@pytest.fixture
def no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line records the commit, which must not change during a test."""
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
