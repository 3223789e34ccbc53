"""Servers for the benchmarks, and a generation run for the held-out one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from evaluation.endpoint import Endpoint
from evaluation.heldout.benchmark import Heldout
from generation.scripted.llm import ScriptedLLM
from generation.seeds.base import Seeds
from generation.seeds.bundled import BundledSeeds
from scripts.generate import main as generate
from tests.evaluation.helpers.heldout import CONF, conf
from tests.evaluation.helpers.replay import AnswerPolicy, ReplayServer, say


@pytest.fixture
def serve() -> Iterator[Callable[[AnswerPolicy], ReplayServer]]:
    servers: list[ReplayServer] = []

    def start(policy: AnswerPolicy) -> ReplayServer:
        servers.append(ReplayServer(policy))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def dead_endpoint(serve: Callable[[AnswerPolicy], ReplayServer]) -> Endpoint:
    """An address where a server has stopped listening."""
    server = serve(lambda body: say(""))
    server.close()
    return server.endpoint()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("seeds")


@pytest.fixture(scope="session")
def generation(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small generation run on two databases."""
    outputs = tmp_path_factory.mktemp("generation")
    values = {"outputs": outputs, "domains.cache": cache, "domains.names": "[gym,library]", "n": 30, "max_tools": 8}
    overrides = [f"{key}={value}" for key, value in values.items()]
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        generate(
            compose("generate", ["profile=tiny", *overrides, "pipeline=user_oriented_exec", "tracking.mode=disabled"])
        )
    return (outputs / "generate" / "latest").resolve()


@pytest.fixture
def settings() -> dict[str, Any]:
    return conf("benchmark/heldout.yaml") | {"subset": "smoke", "dialogues": 6}


@pytest.fixture
def heldout(cache: Path) -> Callable[..., Heldout]:
    def build(values: dict[str, Any], simulator: Any = None, databases: Seeds | None = None) -> Heldout:
        return Heldout(simulator or ScriptedLLM(), databases or BundledSeeds(cache, held_out=True), **values)

    return build
