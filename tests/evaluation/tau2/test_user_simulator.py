"""Who plays the τ² user: the endpoint of `benchmarks.tau2.user`, or the scripted customer."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.servers import probe
from evaluation.endpoint import Endpoint
from evaluation.tau2.benchmark import Tau2
from evaluation.tau2.user_simulator import SCRIPTED_CUSTOMER, user_simulator

HOSTED = {"base_url": "https://host/v1", "model": "m"}


def configured(**more: object) -> Endpoint:
    user = Tau2(smoke={"airline": ["0"]}, user={**HOSTED, **more}).settings.user
    assert user
    return user


def test_a_configured_user_simulator_may_be_hosted(tmp_path: Path) -> None:
    with user_simulator(configured(), tmp_path) as user:
        assert (user.base_url, user.model) == ("https://host/v1", "m")
        assert "top_k" not in user.sampling.body()


def test_top_k_is_sent_only_if_given() -> None:
    body = configured(sampling={"temperature": 1.0}).sampling.body()
    assert body == {"temperature": 1.0, "top_p": 0.95, "max_tokens": 4096}
    assert configured(sampling={"top_k": 5}).sampling.body()["top_k"] == 5


@pytest.mark.slow
def test_the_scripted_customer_is_started_by_default(tmp_path: Path) -> None:
    with user_simulator(None, tmp_path) as user:
        assert (user.model, probe(user.base_url)) == (SCRIPTED_CUSTOMER, (SCRIPTED_CUSTOMER,))
    assert (tmp_path / "customer.log").is_file()
