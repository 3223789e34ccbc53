"""Who plays the τ² user: the endpoint of `benchmarks.tau2.user`, a model that is served, or the scripted customer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import evaluation.tau2.user_simulator as user_simulator_module
from core.journal import write_jsonl
from core.servers import probe
from core.serving import EngineSettings
from core.settings import UserError
from evaluation.benchmark import EvaluationContext
from evaluation.endpoint import Endpoint
from evaluation.tau2.benchmark import Tau2
from evaluation.tau2.settings import Tau2Settings
from evaluation.tau2.user_simulator import SCRIPTED_CUSTOMER, user_simulator
from tests.evaluation.helpers.trials import trial

HOSTED = {"base_url": "https://host/v1", "model": "m"}


def settings(**given: object) -> Tau2Settings:
    return Tau2(smoke={"airline": ["0"]}, **given).settings


def configured(**more: object) -> Endpoint:
    user = settings(user={**HOSTED, **more}).user
    assert user
    return user


def test_a_configured_user_simulator_may_be_hosted(tmp_path: Path) -> None:
    with user_simulator(settings(user=HOSTED), 4, tmp_path) as user:
        assert (user.base_url, user.model) == ("https://host/v1", "m")
        assert "top_k" not in user.sampling.body()


def test_top_k_is_sent_only_if_given() -> None:
    body = configured(sampling={"temperature": 1.0}).sampling.body()
    assert body == {"temperature": 1.0, "top_p": 0.95, "max_tokens": 4096}
    assert configured(sampling={"top_k": 5}).sampling.body()["top_k"] == 5


def test_only_one_can_play_the_user() -> None:
    with pytest.raises(UserError, match="user=m and served_user=org/model were given; expected one"):
        settings(user=HOSTED, served_user={"model": "org/model"})


def test_a_model_is_served_to_play_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = []

    @contextmanager
    def serve(model: str, engine: EngineSettings, logs: Path, name: str) -> Iterator[tuple[str, ...]]:
        served.append((model, engine.replicas, engine.gpu_memory_share, logs, name))
        yield ("http://127.0.0.1:1/v1",)
        served.append("stopped")

    monkeypatch.setattr(user_simulator_module, "serve", serve)
    monkeypatch.setattr(user_simulator_module, "check_server", lambda *server: iter(()))
    chosen = settings(served_user={"model": "org/model", "serving": {"gpu_memory_share": 0.6}})
    with user_simulator(chosen, 4, tmp_path) as user:
        assert (user.base_url, user.model, user.concurrency) == ("http://127.0.0.1:1/v1", "org/model", 4)
    assert served == [("org/model", 1, 0.6, tmp_path, "org/model"), "stopped"]


def test_no_user_is_started_for_trials_that_are_complete(tmp_path: Path) -> None:
    benchmark = Tau2(smoke={"airline": ["0"]}, served_user={"model": "/no/such/model"})
    records = [trial("tau2", "airline", 0, number, number == 1) for number in range(2)]
    write_jsonl(tmp_path / "trials.jsonl", records)
    endpoint = Endpoint(base_url="http://127.0.0.1:1/v1", model="m")
    assert benchmark.run(EvaluationContext(endpoint, trials=2), tmp_path) == records
    with pytest.raises(UserError, match="/no/such/model"):
        benchmark.run(EvaluationContext(endpoint, trials=3), tmp_path)


@pytest.mark.slow
def test_the_scripted_customer_is_started_by_default(tmp_path: Path) -> None:
    with user_simulator(settings(), 4, tmp_path) as user:
        assert (user.model, probe(user.base_url)) == (SCRIPTED_CUSTOMER, (SCRIPTED_CUSTOMER,))
    assert (tmp_path / "customer.log").is_file()
