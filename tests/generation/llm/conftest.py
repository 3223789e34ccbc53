"""Replicas that are probed again within milliseconds."""

from __future__ import annotations

import pytest


@pytest.fixture
def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generation.llm.replicas.FIRST_PROBE_S", 0.02)
    monkeypatch.setattr("generation.llm.replicas.LAST_PROBE_S", 0.05)
