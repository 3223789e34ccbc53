"""Who plays the τ² user: the endpoint of `benchmarks.tau2.user`, or the scripted customer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.serving import probe
from evaluation.benchmark import EvaluationContext
from evaluation.endpoint import Endpoint
from evaluation.tau2 import benchmark
from evaluation.tau2.benchmark import SCRIPTED_CUSTOMER, Tau2
from evaluation.tau2.settings import Tau2Settings

SMOKE = {"airline": ["0"]}
HOSTED = {"base_url": "https://host/v1", "model": "m"}


def user_of(monkeypatch: pytest.MonkeyPatch, directory: Path, **settings: Any) -> tuple[Endpoint, tuple[str, ...]]:
    """The user's endpoint in a run, and the models that it serves."""
    seen: list[tuple[Endpoint, tuple[str, ...]]] = []

    def run(endpoint: Endpoint, settings: Tau2Settings, *_: object) -> list[Any]:
        assert settings.user
        seen.append((settings.user, () if settings.user.model == "m" else probe(settings.user.base_url)))
        return []

    monkeypatch.setattr(benchmark, "run", run)
    model = Endpoint(base_url="http://127.0.0.1:9/v1", model="agent")
    Tau2(smoke=SMOKE, **settings).run(EvaluationContext(model, 1), directory)
    return seen[0]


def test_a_named_user_simulator_may_be_hosted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user, _ = user_of(monkeypatch, tmp_path, user=HOSTED)
    assert (user.base_url, user.model) == ("https://host/v1", "m")
    assert "top_k" not in user.sampling.body()
    warm = Tau2Settings(user={**HOSTED, "sampling": {"temperature": 1.0}}).user
    assert warm
    assert warm.sampling.body() == {"temperature": 1.0, "top_p": 0.95, "max_tokens": 4096}
    local = Tau2Settings(user={**HOSTED, "sampling": {"top_k": 5}}).user
    assert local
    assert local.sampling.body()["top_k"] == 5


@pytest.mark.slow
def test_without_one_the_scripted_customer_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user, served = user_of(monkeypatch, tmp_path)
    assert (user.model, served) == (SCRIPTED_CUSTOMER, (SCRIPTED_CUSTOMER,))
    assert (tmp_path / "customer.log").is_file()
