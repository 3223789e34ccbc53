"""Servers for the tests of the benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from replay import Brain, ReplayServer, say

from evaluation.endpoint import Endpoint


@pytest.fixture
def serve() -> Iterator[Callable[[Brain], ReplayServer]]:
    servers: list[ReplayServer] = []

    def start(brain: Brain) -> ReplayServer:
        servers.append(ReplayServer(brain))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def dead_endpoint(serve: Callable[[Brain], ReplayServer]) -> Endpoint:
    """An address at which a server was, and nothing listens any more."""
    server = serve(lambda body: say(""))
    server.close()
    return server.endpoint()
