"""Tools of an MCP server that the SDK made: as seeds, and executed on it."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.messages import ToolSpec
from core.settings import UserError
from generation.environments.service import McpEnvironmentFactory
from generation.llm.base import LLMError
from generation.llm.meter import Meter
from generation.scripted.llm import ScriptedLLM
from generation.seeds.base import Seed
from generation.seeds.mcp import McpSeeds
from generation.services.mcp import McpServer, McpSessions
from generation.tools.toolset import Toolset
from generation.toolset_runner import source_from_seed
from tests.generation.helpers import notes_mcp_server

COMMAND = shlex.join([sys.executable, str(Path(notes_mcp_server.__file__))])


@pytest.fixture(scope="module")
def seed() -> Seed:
    (seed,) = McpSeeds(command=COMMAND, samples=["notes_list"]).load()
    return seed


@pytest.fixture
def factory() -> Iterator[McpEnvironmentFactory]:
    factory = McpEnvironmentFactory(command=COMMAND, variables=["NOTES_TOKEN"])
    yield factory
    factory.close()


def test_a_server_is_a_domain_of_its_tools(seed: Seed) -> None:
    assert (seed.name, seed.title, seed.engine, seed.licence) == ("team_notes", "team notes", "mcp", "not stated")
    tools = {tool.name: tool for tool in seed.tools}
    assert list(tools) == ["notes_list", "notes_get", "notes_rename", "notes_list_2", "process", "much"]
    assert tools["notes_rename"].description == "Renames a note."
    properties = tools["notes_rename"].parameters["properties"]
    assert {name: schema["type"] for name, schema in properties.items()} == {"note_id": "integer", "title": "string"}
    assert seed.rows == {"notes": list(notes_mcp_server.NOTES.values())}


async def test_calls_run_on_the_server_in_a_session_of_each_dialogue(
    seed: Seed, factory: McpEnvironmentFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTES_TOKEN", "secret")
    monkeypatch.setenv("ANOTHER_TOKEN", "hidden")
    domain = factory.for_domain(source_from_seed(seed).toolset, Meter(ScriptedLLM()), "d")
    one, other = domain.open(), domain.open()
    assert (await one.call("notes_rename", {"note_id": 1, "title": "Plan"})).content == "renamed"
    assert (await one.call("notes_get", {"note_id": 1})).value["title"] == "Plan"
    assert [row["title"] for row in (await other.call("notes_list", {})).value] == ["Budget", "Menu", "Route"]
    assert (await other.call("notes_list_2", {})).value == []
    failed = await one.call("notes_get", {"note_id": 99})
    assert failed.error
    for name, arguments, problem in (
        ("notes_get", {"note_id": "x"}, "note_id"),
        ("notes_burn", {}, "unknown tool"),
        ("much", {"characters": 200_000}, "too large"),
    ):
        refused = await one.call(name, arguments)
        assert refused.error
        assert problem in refused.value["error"]
    assert (await one.call("process", {})).content.endswith("secret")

    # What is real cannot be forked, and its state is not seen.
    assert not (one.executable)
    assert not (factory.executable)
    assert one.state_diff() == ()
    assert one.state_hash() != other.state_hash()
    for impossible in (one.fork, one.reset, lambda: domain.open(one.snapshot())):
        with pytest.raises(UserError, match="a real service cannot be"):
            impossible()
    assert await other.retrace([("notes_get", {"note_id": 2}, (await other.call("notes_get", {"note_id": 2})).content)])
    assert not await other.retrace([("notes_get", {"note_id": 2}, "{}")])

    # A dialogue that was left open does not keep its process.
    pids = [int((await each.call("process", {})).content.split()[0]) for each in (one, other)]
    assert pids[0] != pids[1]
    one.close()
    factory.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_server_that_dies_leaves_the_dialogue_to_be_tried_again() -> None:
    factory = McpEnvironmentFactory(command=f"{COMMAND} mortal")
    tools = (ToolSpec(name="die", description="", parameters={"type": "object"}),)
    toolset = Toolset(domain="notes", description="", tools=tools, engine="mcp")
    environment = factory.for_domain(toolset, Meter(ScriptedLLM()), "d").open()
    with pytest.raises(LLMError, match="the service of the tools cannot be reached"):
        await environment.call("die", {})
    environment.close()
    factory.close()


async def test_an_unexpected_error_of_a_session_reaches_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(server: McpServer) -> Any:
        raise KeyError("an error that the SDK does not document")

    monkeypatch.setattr(McpServer, "client", broken)
    sessions = McpSessions(McpServer.given(COMMAND, None, (), 60.0))
    with pytest.raises(KeyError, match="an error that the SDK does not document"):
        await asyncio.wait_for(sessions.open().call("notes_list", {}), 10)
    sessions.close()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "domains.command=None and domains.url=None were given; expected one of them"),
        ({"command": "a", "url": "http://127.0.0.1:1/mcp"}, "expected one of them"),
        (
            {"command": "no-such-program --x"},
            "domains.command=no-such-program --x .* there is no program 'no-such-program'",
        ),
        ({"command": "'"}, "expected: a command line"),
        ({"command": "true"}, "expected: an MCP server"),
        ({"url": "http://127.0.0.1:1/mcp"}, "expected: an MCP server"),
        ({"url": "nonsense"}, "expected: an MCP server"),
        ({"command": COMMAND, "samples": ["notes_lists"]}, "did you mean 'notes_list"),
        ({"command": COMMAND, "samples": ["process"]}, "expected: a list of objects"),
        ({"command": COMMAND, "samples": ["notes_get"]}, "without arguments fails"),
    ],
)
def test_what_is_no_server_is_refused(arguments: dict[str, object], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        McpSeeds(**arguments).load()


def test_settings_stay_out_of_the_seed(seed: Seed) -> None:
    assert "command" not in json.loads(seed.model_dump_json())
