"""make serve-tools: a finished run over standard input and output, its tasks judged, its sessions verified."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from core.dialogue import Dialogue, Task
from core.journal import read_jsonl
from core.manifest import read_manifest
from core.settings import UserError
from generation.environments.sql import SqlEnvironmentFactory
from generation.mcp_server.world import TaskFile, World
from generation.scripted.llm import ScriptedLLM
from generation.toolset_runner import sources_from_file
from scripts.generate import main
from scripts.launch import CONF, read_settings
from scripts.serve_tools import ServeToolsSettings, serve_tools
from scripts.verify import verify
from tests.generation.helpers.served_shops import INITIALIZE, called, post, serving, state, text

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("outputs")
    overrides = ["profile=tiny", f"outputs={outputs}", "pipeline=user_oriented_exec", "n=12", "policy_rules=0"]
    overrides += ["domains.names=[gym,library]", "tracking.mode=disabled", "report=null"]
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        main(compose("generate", overrides))
    return (outputs / "generate" / "latest").resolve()


@pytest.fixture(scope="module")
def dialogues(run: Path) -> list[Dialogue]:
    return list(read_jsonl(run / "user_oriented_exec" / "dialogues.jsonl", Dialogue))


@asynccontextmanager
async def served(outputs: Path, *words: str) -> AsyncIterator[Client]:
    """A client of a server that it started itself."""
    arguments = ["-m", "scripts.serve_tools", "transport=stdio", f"outputs={outputs}", *words]
    root = CONF.parent
    parameters = StdioServerParameters(command=sys.executable, args=arguments, cwd=root, env={"PYTHONPATH": str(root)})
    async with Client(parameters) as client:
        yield client


def lines(outputs: Path) -> list[Dialogue]:
    return list(read_jsonl(outputs / "serve-tools" / "latest" / "sessions" / "dialogues.jsonl", Dialogue))


def a_task(dialogues: list[Dialogue], number: int) -> Task:
    """The task of that number in a dialogue, which changes something and has values to be told."""
    return next(d.tasks[number] for d in dialogues if len(d.tasks) > number and d.tasks[number].mutates)


@pytest.mark.parametrize("number", [0, 1])
async def test_gold_calls_solve_a_task_and_nothing_less_does(
    number: int, run: Path, dialogues: list[Dialogue], tmp_path: Path
) -> None:
    task = a_task(dialogues, number)
    words = [f"source={run}", f"task={task.task_id}"]
    async with served(tmp_path / "gold", *words) as client:
        for call in task.gold_calls:
            await called(client, call.tool, **call.arguments)
        await called(client, "tell_user", message=f"Done: {', '.join(task.told_values)}.")
        assert (await state(client))["task"] == task.task_id
    async with served(tmp_path / "silent", *words) as client:
        await client.list_tools()
    (gold,), (silent,) = lines(tmp_path / "gold"), lines(tmp_path / "silent")
    assert gold.verdict
    assert gold.verdict.accepted, gold.verdict.reasons
    assert silent.verdict
    assert not silent.verdict.accepted
    assert any(reason.startswith(f"state of task {number}: ") for reason in silent.verdict.reasons)


async def test_a_task_whose_values_are_not_told_is_not_solved(
    run: Path, dialogues: list[Dialogue], tmp_path: Path
) -> None:
    task = next(task for dialogue in dialogues for task in dialogue.tasks[:1] if task.told_values)
    async with served(tmp_path, f"source={run}", f"task={task.task_id}") as client:
        for call in task.gold_calls:
            await called(client, call.tool, **call.arguments)
    (line,) = lines(tmp_path)
    assert line.verdict
    assert [reason.partition(":")[0] for reason in line.verdict.reasons] == ["told in task 0"]


async def test_over_http_the_address_names_the_task(run: Path, dialogues: list[Dialogue]) -> None:
    first, second = (dialogue.tasks[0] for dialogue in dialogues[:2])
    toolsets = [source.toolset for source in sources_from_file(run / "toolsets.jsonl")]
    tasks = TaskFile(run / "user_oriented_exec" / "dialogues.jsonl")
    world = World(toolsets, SqlEnvironmentFactory(), ScriptedLLM(), tasks, 100)
    async with serving(world) as server:
        async with (
            Client(f"{server.url}?task={first.task_id}") as one,
            Client(f"{server.url}?task={second.task_id}") as two,
        ):
            assert (await state(one))["task"] == first.task_id
            for call in second.gold_calls:
                await called(two, call.tool, **call.arguments)
            await called(two, "tell_user", message=", ".join(second.told_values))
        for query in ("task=nothing/t0", f"task={first.task_id}&task=nothing/t0"):
            status, body, session = await post(f"{server.url}?{query}", INITIALIZE)
            assert (status, session) == (400, None)
            assert "nothing/t0" in body
    verdicts = {session.task: lines[0].verdict for session, lines in server.closed}
    assert verdicts.keys() == {first.task_id, second.task_id}
    assert [verdict.accepted for verdict in verdicts.values() if verdict] == [
        task == second.task_id for task in verdicts
    ]


async def test_the_documented_client_runs(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (CONF.parent / "docs" / "services.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    toolsets = [source.toolset for source in sources_from_file(run / "toolsets.jsonl")][:1]
    world = World(toolsets, SqlEnvironmentFactory(), ScriptedLLM(), TaskFile(None), 100)
    async with serving(world) as server:
        await asyncio.to_thread(exec, example.replace("http://127.0.0.1:8321/mcp", server.url), {})
    shown = capsys.readouterr().out
    assert "no_such_argument" in shown
    assert "final_hash" in shown


async def test_sessions_can_be_verified_afterwards(
    run: Path, dialogues: list[Dialogue], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = a_task(dialogues, 0)
    domain = next(d.domain for d in dialogues if task in d.tasks)
    async with served(tmp_path, f"source={run}", f"domains=[{domain}]") as client:
        for call in task.gold_calls:
            await called(client, call.tool, **call.arguments)
        await client.call_tool(task.gold_calls[-1].tool, {"no_such_argument": 1})
        shown = (await state(client))["domains"][domain]
    served_run = (tmp_path / "serve-tools" / "latest").resolve()
    assert read_manifest(served_run).results == {"sessions": 1, "calls": len(task.gold_calls) + 1, "accepted": 0}
    (line,) = lines(tmp_path)
    assert line.state
    assert line.state.model_dump(mode="json") == shown
    assert await asyncio.to_thread(verify, served_run) == 0
    path = served_run / "sessions" / "dialogues.jsonl"
    path.write_text(path.read_text().replace('\\"rows_affected\\": 1', '\\"rows_affected\\": 2'))
    assert await asyncio.to_thread(verify, served_run) == 1


async def test_long_and_broken_lines_do_not_end_a_session(run: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.serve_tools", "transport=stdio", f"source={run}", "domains=[gym]"]
    process = await asyncio.create_subprocess_exec(
        *command,
        f"outputs={tmp_path}",
        "message_bytes=2000",
        cwd=CONF.parent,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    initialize = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}}
    messages = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": initialize},
        "x" * 100_000,
        "not JSON",
        "[" * 1500,
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "y" * 3000}},
        {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "nothing"}},
    ]
    text_lines = [message if isinstance(message, str) else json.dumps(message) for message in messages]
    assert process.stdin
    assert process.stdout
    process.stdin.write(("\n".join(text_lines) + "\n").encode())
    answers = [json.loads(await process.stdout.readline()) for _ in range(2)]
    process.stdin.close()
    assert [answer["id"] for answer in answers] == [1, 3]
    assert answers[1]["result"]["isError"]
    assert await process.stdout.read() == b""
    await process.wait()
    assert process.returncode == 0


async def test_a_server_that_is_told_to_end_writes_its_session(run: Path, tmp_path: Path) -> None:
    words = [f"source={run}", "domains=[gym]", f"outputs={tmp_path}", "transport=stdio"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scripts.serve_tools", *words),
        cwd=CONF.parent,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdin
    assert process.stdout
    initialize = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}}
    call = {"name": "list_all_members", "arguments": {}}
    for number, (method, parameters) in enumerate({"initialize": initialize, "tools/call": call}.items()):
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": parameters}
        process.stdin.write(json.dumps(message).encode() + b"\n")
        await process.stdout.readline()
    process.terminate()
    assert await process.wait() == 0
    assert [len(line.messages) for line in lines(tmp_path)] == [2]


SIGNALLED = """
import os, signal
from anyio._backends._asyncio import WorkerThread
start = WorkerThread.start
def start_and_signal(thread):
    start(thread)
    os.kill(os.getpid(), signal.SIGTERM)
WorkerThread.start = start_and_signal
from scripts.serve_tools import main
main()
"""
"""Sends SIGTERM at the worst moment: the library has started its writer thread and not yet arranged for its end."""


async def test_a_signal_while_the_writer_starts_ends_the_server(run: Path, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SIGNALLED, f"source={run}", "domains=[gym]", f"outputs={tmp_path}", "transport=stdio"),
        cwd=CONF.parent,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdin
    initialize = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": initialize}
    process.stdin.write(json.dumps(message).encode() + b"\n")
    try:
        assert await asyncio.wait_for(process.wait(), 60) == 0
    finally:
        if process.returncode is None:
            process.kill()


async def test_a_database_and_bundled_domains_can_be_served(run: Path, tmp_path: Path) -> None:
    (toolset, *_) = [json.loads(line) for line in (run / "toolsets.jsonl").read_text().splitlines()]
    async with served(tmp_path, f"source={toolset['database']}") as client:
        tools = (await client.list_tools()).tools
        assert len(tools) >= 3
        refused = await client.call_tool(tools[0].name, {"no_such_argument": 1})
        assert refused.is_error
        assert "no_such_argument" in text(refused)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (
            ["source=nowhere"],
            "source=nowhere .*no such file .*a generation run, a toolsets.jsonl, an SQLite file, or bundled",
        ),
        (["source=outputs"], "has no toolsets.jsonl; expected: the folder of a generation run"),
        (["source={run}", "domains=[gim]"], "did you mean 'gym'"),
        (["source={run}", "pipeline=nothing"], "pipeline=nothing was given"),
        (["source={run}", "task=user_oriented_exec-0000000/t99"], "the tasks of its dialogue are"),
        (["source={run}", "task=nothing/t0"], "expected the id of a task"),
        (["source={run}/toolsets.jsonl", "task=a/t0"], "those of a generation run"),
        (["transport=sse"], "transport"),
        (["source={run}", "llm=gpt"], "llm=gpt was given"),
    ],
)
def test_wrong_settings_are_refused(words: list[str], problem: str, run: Path, tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    given = [word.format(run=run).replace("=outputs", f"={tmp_path}/outputs") for word in words]
    with pytest.raises(UserError, match=problem):
        serve_tools(read_settings([*given, f"outputs={tmp_path}"], ServeToolsSettings))
