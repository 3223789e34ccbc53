"""The shop behind a running MCP server over HTTP, and what its sessions left when they closed."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from mcp import Client, types

from core.dialogue import Dialogue
from generation.environments.sql import SqlEnvironmentFactory
from generation.mcp_server.server import ToolServer
from generation.mcp_server.session import Session
from generation.mcp_server.transports import http_server, listen
from generation.mcp_server.world import TaskFile, World
from generation.scripted.llm import ScriptedLLM
from generation.tools.toolset import Toolset
from tests.generation.helpers.shop_database import TOOLS, build

MESSAGE_BYTES = 100_000


def shop_toolset(folder: Path, domain: str = "shop") -> Toolset:
    return Toolset(
        domain=domain,
        description="Sells stationery.",
        tools=tuple(tool.spec for tool in TOOLS),
        engine="sql",
        statements={tool.spec.name: tool.sql for tool in TOOLS},
        database=build(folder / f"{domain}.sqlite"),
    )


def shop_world(folder: Path, *domains: str, calls: int = 1000) -> World:
    toolsets = [shop_toolset(folder, domain) for domain in domains or ("shop",)]
    return World(toolsets, SqlEnvironmentFactory(), ScriptedLLM(), TaskFile(None), calls)


@dataclass
class Served:
    """A running server: its address, the closed sessions with their dialogues, and whether there is one."""

    url: str
    closed: list[tuple[Session, list[Dialogue]]] = field(default_factory=list)
    has_closed: asyncio.Event = field(default_factory=asyncio.Event)

    def close(self, session: Session, lines: list[Dialogue]) -> None:
        self.closed.append((session, lines))
        self.has_closed.set()


@asynccontextmanager
async def serving(world: World, sessions: int = 8, idle_s: float = 60) -> AsyncIterator[Served]:
    listener = listen(0)
    port = listener.getsockname()[1]
    served = Served(f"http://127.0.0.1:{port}/mcp")
    http = http_server(ToolServer(world, served.close, "0"), port, sessions, idle_s, MESSAGE_BYTES)
    task = asyncio.create_task(http.serve(sockets=[listener]))
    try:
        yield served
    finally:
        http.should_exit = True
        await task
        world.close()


@asynccontextmanager
async def served_shop(*domains: str, sessions: int = 8, idle_s: float = 60, calls: int = 1000) -> AsyncIterator[Served]:
    with tempfile.TemporaryDirectory() as folder:
        async with serving(shop_world(Path(folder), *domains, calls=calls), sessions, idle_s) as served:
            yield served


async def called(client: Client, name: str, /, **arguments: Any) -> Any:
    """The value of a call that must succeed."""
    result = await client.call_tool(name, arguments)
    assert not result.is_error, text(result)
    return json.loads(text(result))


def text(result: types.CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, types.TextContent)
    return block.text


async def state(client: Client) -> dict[str, Any]:
    (contents,) = (await client.read_resource("world://state")).contents
    assert isinstance(contents, types.TextResourceContents)
    found = json.loads(contents.text)
    assert isinstance(found, dict)
    return found


HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "0"},
    },
}


async def post(url: str, body: Any, **headers: str) -> tuple[int, str, str | None]:
    """Status, body and session id of one raw request; a `body` of text is sent as it is."""
    data = body if isinstance(body, str | bytes) else json.dumps(body)
    async with aiohttp.ClientSession() as http, http.post(url, data=data, headers=HEADERS | headers) as response:
        return response.status, await response.text(), response.headers.get("mcp-session-id")
