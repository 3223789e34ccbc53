"""An MCP server as a service: its tools, and calls in a session of one's own."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
from mcp import Client, MCPError, types
from mcp.client.stdio import StdioServerParameters

from core.messages import ToolSpec
from core.settings import UserError
from generation.services.base import MAX_ANSWER, Answer, UnreachableError, lawful_name, unique_names
from generation.specs.formats import parse_tool_spec

_MAX_PAGES = 100
_BROKEN = (httpx2.HTTPError, OSError, ExceptionGroup, RuntimeError, TimeoutError, ValueError)
"""What the SDK raises besides MCPError where a server is not there, breaks off, or does not speak MCP."""
_GONE = (types.CONNECTION_CLOSED, types.REQUEST_TIMEOUT)


@dataclass(frozen=True)
class McpServer:
    """Where a server is: a `command` with arguments that starts it, or the `url` of a running one. `variables` are the
    names of the environment variables that the command gets; `timeout_s` bounds each answer."""

    command: tuple[str, ...]
    url: str
    variables: tuple[str, ...]
    timeout_s: float

    @classmethod
    def given(cls, command: str | None, url: str | None, variables: Sequence[str], timeout_s: float) -> McpServer:
        """`command` is a command line. Raises UserError unless one of `command` and `url` is given, and for a program
        that does not exist."""
        if bool(command) == bool(url):
            raise UserError(
                f"command={command} url={url} was given; expected one of them: a command line that starts a server "
                "(command='npx -y some-server'), or the URL of a running one"
            )
        words = _words(command or "")
        if words and shutil.which(words[0]) is None:
            raise UserError(f"command={command} was given, but there is no program {words[0]!r}")
        return cls(words, url or "", tuple(variables), timeout_s)

    @property
    def where(self) -> str:
        return self.url or " ".join(self.command)

    def client(self) -> Client:
        """A client that has not connected yet."""
        if self.url:
            return Client(self.url, read_timeout_seconds=self.timeout_s)
        env = {name: os.environ[name] for name in self.variables if name in os.environ}
        parameters = StdioServerParameters(command=self.command[0], args=list(self.command[1:]), env=env)
        return Client(parameters, read_timeout_seconds=self.timeout_s)


def _words(command: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command))
    except ValueError as error:
        raise UserError(f"command={command} was given; expected: a command line ({error})") from None


@dataclass(frozen=True)
class Offer:
    """What a server calls itself, its tools under lawful and unique names, and the server's own name of each;
    `unusable` says of the other tools why."""

    server: str
    tools: tuple[ToolSpec, ...]
    own_names: dict[str, str]
    unusable: tuple[str, ...]


async def offer(server: McpServer) -> Offer:
    """What a server offers now. Raises UnreachableError."""
    try:
        async with server.client() as client:
            return await _offer(client)
    except (MCPError, *_BROKEN) as error:
        raise UnreachableError(f"{server.where}: {_reason(error)}") from None


async def _offer(client: Client) -> Offer:
    listed: list[types.Tool] = []
    cursor: str | None = None
    for _ in range(_MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        listed += page.tools
        cursor = page.next_cursor
        if not cursor:
            break
    specs: list[tuple[str, ToolSpec]] = []
    unusable: list[str] = []
    for tool in listed:
        raw = tool.model_dump(by_alias=True, exclude_none=True)
        try:
            spec = parse_tool_spec(raw | {"name": lawful_name(tool.name, "tool")})
        except ValueError as error:
            unusable.append(f"{tool.name[:80]}: {error}")
            continue
        specs.append((tool.name, spec))
    names = list(unique_names(spec.name for _, spec in specs))
    tools = tuple(spec.model_copy(update={"name": name}) for name, (_, spec) in zip(names, specs, strict=True))
    own_names = {name: own for name, (own, _) in zip(names, specs, strict=True)}
    information = client.server_info
    return Offer(information.name if information else "", tools, own_names, tuple(unusable))


class McpConnection:
    """Implements generation.services.base.Connection: one session of a server, or one process of its own."""

    def __init__(self, server: McpServer) -> None:
        self._server = server
        self._opening: asyncio.Future[tuple[Client, Offer]] | None = None
        self._closing = asyncio.Event()
        self._holder: asyncio.Task[None] | None = None

    async def call(self, name: str, arguments: dict[str, Any]) -> Answer:
        client, found = await self._opened()
        if name not in found.own_names:
            return Answer(_error(f"the server {self._server.where} no longer offers the tool {name}"), error=True)
        try:
            result = await client.call_tool(found.own_names[name], arguments)
        except MCPError as error:
            if error.code in _GONE:
                raise UnreachableError(f"{self._server.where}: {error.message}") from None
            return Answer(_error(error.message), error=True)
        except _BROKEN as error:
            raise UnreachableError(f"{self._server.where}: {_reason(error)}") from None
        text = _text(result)
        if len(text) > MAX_ANSWER:
            return Answer(_error(f"the result is too large ({len(text)} characters); ask for less"), error=True)
        return Answer(text, bool(result.is_error))

    async def _opened(self) -> tuple[Client, Offer]:
        if self._opening is None:
            self._opening = asyncio.get_running_loop().create_future()
            # The SDK's client must be left by the task that entered it, which may not be the one that closes this.
            self._holder = asyncio.create_task(self._hold(self._opening))
        return await asyncio.shield(self._opening)

    async def _hold(self, opening: asyncio.Future[tuple[Client, Offer]]) -> None:
        try:
            async with self._server.client() as client:
                opening.set_result((client, await _offer(client)))
                await self._closing.wait()
        except (MCPError, *_BROKEN) as error:
            if not opening.done():
                opening.set_exception(UnreachableError(f"{self._server.where}: {_reason(error)}"))

    def close(self) -> None:
        self._closing.set()


def _text(result: types.CallToolResult) -> str:
    """A result as text: its text blocks, or what it has instead."""
    blocks = [
        block.text if isinstance(block, types.TextContent) else f"[{block.type}, which is not shown]"
        for block in result.content
    ]
    if not blocks and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    return "\n".join(blocks)


def _error(problem: str) -> str:
    return json.dumps({"error": problem}, ensure_ascii=False)


def _reason(error: BaseException) -> str:
    """The first cause of an error, in one line: task groups wrap what went wrong in them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return " ".join(f"{type(error).__name__}: {error}".split())
