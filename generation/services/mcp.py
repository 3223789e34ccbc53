"""An MCP server as a service: its tools, and calls in a session of one's own."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import httpx2
from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client, MCPError, types
from mcp.client.stdio import StdioServerParameters

from core.messages import ToolSpec
from core.settings import UserError, closest
from generation.services.base import MAX_ANSWER, Answer, UnreachableError, unique_names, valid_name
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
                f"domains.command={command} and domains.url={url} were given; expected one of them: a command line "
                "that starts a server (domains.command='npx -y some-server'), or the URL of a running one"
            )
        words = _words(command or "")
        if words and shutil.which(words[0]) is None:
            raise UserError(f"domains.command={command} was given, but there is no program {words[0]!r}")
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
        raise UserError(f"domains.command={command} was given; expected: a command line ({error})") from None


@dataclass(frozen=True)
class Offer:
    """What a server calls itself, its tools under valid and unique names, and the server's own name of each;
    `unusable` says of the other tools why. `samples` are the texts that some tools returned."""

    server: str
    tools: tuple[ToolSpec, ...]
    own_names: dict[str, str]
    unusable: tuple[str, ...]
    samples: dict[str, str] = field(default_factory=dict)


async def offer(server: McpServer, samples: Sequence[str] = ()) -> Offer:
    """What a server offers now, and what the tools `samples` return without arguments. Raises UnreachableError, and
    UserError for a sample that fails."""
    try:
        async with server.client() as client:
            found = await _offer(client)
            return replace(found, samples={name: await _sample(client, found, name) for name in samples})
    except (MCPError, *_BROKEN) as error:
        if isinstance(cause := _cause(error), UserError):
            raise cause from None
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
            spec = parse_tool_spec(raw | {"name": valid_name(tool.name, "tool")})
        except ValueError as error:
            unusable.append(f"{tool.name[:80]}: {error}")
            continue
        specs.append((tool.name, spec))
    names = list(unique_names(spec.name for _, spec in specs))
    tools = tuple(spec.model_copy(update={"name": name}) for name, (_, spec) in zip(names, specs, strict=True))
    own_names = {name: own for name, (own, _) in zip(names, specs, strict=True)}
    information = client.server_info
    return Offer(information.name if information else "", tools, own_names, tuple(unusable))


async def _sample(client: Client, found: Offer, name: str) -> str:
    if name not in found.own_names:
        raise UserError(f"samples: {name!r} is not a tool of the server; {closest(name, list(found.own_names))}")
    result = await client.call_tool(found.own_names[name], {})
    if result.is_error:
        raise UserError(f"samples: {name} without arguments fails: {_text(result)[:200]}")
    return _text(result)


class McpSessions:
    """Sessions of one server, in an event loop and thread of their own.

    The SDK's client must be left by the task that entered it, and a loop that ends meanwhile would leave the server's
    process behind: here the last one is left before the loop ends.
    """

    def __init__(self, server: McpServer) -> None:
        self.server = server
        self.connections: set[McpConnection] = set()
        self._loop = ExitStack()
        self._portal: BlockingPortal | None = None

    def open(self) -> McpConnection:
        connection = McpConnection(self)
        self.connections.add(connection)
        return connection

    @property
    def portal(self) -> BlockingPortal:
        if self._portal is None:
            self._portal = self._loop.enter_context(start_blocking_portal())
        return self._portal

    def close(self) -> None:
        """Close all sessions and wait for the ends of their processes."""
        for connection in [*self.connections]:
            connection.close()
        self._loop.close()
        self._portal = None


class McpConnection:
    """Implements generation.services.base.Connection: one session, and of a command one process."""

    def __init__(self, sessions: McpSessions) -> None:
        self._sessions = sessions
        self._server = sessions.server
        self._opened: Future[tuple[Client, Offer]] | None = None
        self._closing: anyio.Event | None = None

    async def call(self, name: str, arguments: dict[str, Any]) -> Answer:
        portal = self._sessions.portal
        if self._opened is None:
            self._opened = Future()
            portal.start_task_soon(self._hold, self._opened)
        client, found = await asyncio.shield(asyncio.wrap_future(self._opened))
        if name not in found.own_names:
            return Answer.failed(f"the server {self._server.where} no longer offers the tool {name}")
        try:
            result = await asyncio.wrap_future(
                portal.start_task_soon(client.call_tool, found.own_names[name], arguments)
            )
        except MCPError as error:
            if error.code in _GONE:
                raise UnreachableError(f"{self._server.where}: {error.message}") from None
            return Answer.failed(error.message)
        except _BROKEN as error:
            raise UnreachableError(f"{self._server.where}: {_reason(error)}") from None
        text = _text(result)
        if len(text) > MAX_ANSWER:
            return Answer.failed(f"the result is too large ({len(text)} characters); ask for less")
        return Answer(text, bool(result.is_error))

    async def _hold(self, opened: Future[tuple[Client, Offer]]) -> None:
        self._closing = anyio.Event()
        try:
            async with self._server.client() as client:
                opened.set_result((client, await _offer(client)))
                await self._closing.wait()
        except Exception as error:
            if not opened.done():  # whatever the error is, a call is waiting for this session
                expected = isinstance(error, (MCPError, *_BROKEN))
                opened.set_exception(UnreachableError(f"{self._server.where}: {_reason(error)}") if expected else error)

    async def _leave(self) -> None:
        if self._closing is not None:
            self._closing.set()

    def close(self) -> None:
        if self in self._sessions.connections:
            self._sessions.connections.remove(self)
            if self._opened is not None:
                self._sessions.portal.start_task_soon(self._leave)


def _text(result: types.CallToolResult) -> str:
    """A result as text: its text blocks, or what it has instead."""
    blocks = [
        block.text if isinstance(block, types.TextContent) else f"[{block.type}, which is not shown]"
        for block in result.content
    ]
    if not blocks and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    return "\n".join(blocks)


def _cause(error: BaseException) -> BaseException:
    """The first error of a group: the SDK's task groups wrap what goes wrong in them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _reason(error: BaseException) -> str:
    cause = _cause(error)
    return " ".join(f"{type(cause).__name__}: {cause}".split())
