"""Hosted servers are reached through the proxy that the environment names, this machine's servers never."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from core.server_check import check_server
from core.server_protocol import proxy_of
from core.servers import probe
from evaluation.bfcl.worker.client import Client, Limits
from tests.evaluation.helpers.replay import AnswerPolicy, ReplayServer, say
from tests.generation.helpers.misbehaving_servers import REQUEST, client
from tests.helpers.proxy import Proxy, answering_proxy

HOSTED = "http://models.example/v1"
DEAD = "http://127.0.0.1:9"


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with answering_proxy() as running:
        use(monkeypatch, running.url)
        yield running


def use(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "NO_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", url)
    monkeypatch.setenv("http_proxy", url)


async def test_every_client_reaches_a_hosted_server_through_the_proxy(proxy: Proxy) -> None:
    assert probe(HOSTED) == ("m",)
    check_server(HOSTED, "m")
    Client(HOSTED, "key", Limits(1, 0, 10.0, 9)).complete({"model": "m", "messages": []}, "a")
    async with client(HOSTED) as llm:
        assert (await llm.complete(REQUEST)).message.content == "hello"
    assert {url.removeprefix(HOSTED) for url in proxy.asked} >= {"/models", "/chat/completions"}
    assert len(proxy.asked) >= 6


async def test_no_client_reaches_this_machine_through_a_proxy(
    serve: Callable[[AnswerPolicy], ReplayServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, DEAD)
    server = serve(lambda body: say("Hello."))
    for url in (server.base_url, server.base_url.replace("127.0.0.1", "localhost")):
        assert probe(url)
        assert not any("refused" in warning for warning in check_server(url, "replay_model/x"))
        async with client(url) as llm:
            assert (await llm.complete(REQUEST)).message.content == "Hello."


def test_proxies_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, "proxy.example:3128")
    assert proxy_of(HOSTED) == "http://proxy.example:3128"
    assert proxy_of("https://models.example/v1") is None, "none is named for https"
    for url in ("http://localhost:8000/v1", "http://127.0.0.2/v1", "http://[::1]:8000/v1"):
        assert proxy_of(url) is None
    monkeypatch.setenv("no_proxy", "models.example")
    assert proxy_of(HOSTED) is None
