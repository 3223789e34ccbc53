"""How clients reach the server: standard input and output, or HTTP on this machine's loopback interface alone."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from typing import cast

import anyio
import uvicorn
from mcp import types
from mcp.server.runner import serve_loop
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http import MCP_SESSION_ID_HEADER
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from core.settings import UserError
from generation.mcp_server.server import ToolServer
from generation.mcp_server.world import World

HOST, PATH = "127.0.0.1", "/mcp"
_LINE_TOO_LONG = "\n"
"""Stands for a message that is too long; it is not JSON, and so refused."""


async def serve_stdio(server: ToolServer, message_bytes: int) -> None:
    """Serve the one session of the process that started this one, until it closes standard input or this task is
    cancelled, which SIGTERM does. Raises UserError if standard input is a file."""
    reader = asyncio.StreamReader(limit=message_bytes)
    loop, serving = asyncio.get_running_loop(), asyncio.current_task()
    assert serving
    # A KeyboardInterrupt could hit the library between starting its writer thread and arranging for that thread's end:
    # the process would then never exit.
    loop.add_signal_handler(signal.SIGTERM, serving.cancel)
    try:
        # No thread reads: one that waits for a line would keep a process that is told to end.
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    except ValueError:
        raise UserError(
            "standard input is a file; expected: a client that starts this server and talks to it"
        ) from None
    protocol, lines = server.protocol, cast("anyio.AsyncFile[str]", _Lines(reader))
    async with stdio_server(stdin=lines) as (read_stream, write_stream), protocol.lifespan(protocol) as state:
        await serve_loop(protocol, read_stream, write_stream, lifespan_state=state)


class _Lines:
    """The lines of a stream; one that is longer than the stream's limit is read past and replaced."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def __aiter__(self) -> AsyncIterator[str]:
        while line := await self._line():
            yield line

    async def _line(self) -> str:
        too_long = False
        while True:
            try:
                line = await self._reader.readuntil(b"\n")
            except asyncio.LimitOverrunError as error:
                await self._reader.readexactly(error.consumed)
                too_long = True
            except asyncio.IncompleteReadError as end:
                return str(end.partial, "utf-8", "replace")
            else:
                return _LINE_TOO_LONG if too_long else str(line, "utf-8", "replace")


def listen(port: int) -> socket.socket:
    """A socket on the loopback interface; port 0 takes a free one. Raises UserError if the port is taken."""
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise UserError(f"port={port} was given; expected a free port of {HOST} ({error.strerror})") from None


def http_server(server: ToolServer, port: int, sessions: int, idle_s: float, message_bytes: int) -> uvicorn.Server:
    """Streamable HTTP, to be served on a socket of `listen` until the process is interrupted.

    At most `sessions` are open at once, and one without a request for `idle_s` seconds is closed. Requests whose Host
    or Origin is another one than this server's are refused: a web page could otherwise reach it by DNS rebinding.
    """
    names = [f"{HOST}:{port}", f"localhost:{port}"]
    app = server.protocol.streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        max_request_body_size=message_bytes,
        session_idle_timeout=idle_s,
        max_sessions=sessions,
        transport_security=TransportSecuritySettings(
            allowed_hosts=names, allowed_origins=[f"http://{name}" for name in names]
        ),
    )
    config = uvicorn.Config(_Gate(app, server.world), log_level="warning", lifespan="on", timeout_graceful_shutdown=3)
    return uvicorn.Server(config)


class _Gate:
    """Refuses what the SDK would let a session begin with: streams that the server has nothing to send on, which keep
    idle sessions alive, and tasks that no session can be opened for, whose sessions would count as open."""

    def __init__(self, app: ASGIApp, world: World) -> None:
        self._app = app
        self._world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(Request(scope)) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        if request.method == "GET":
            return _error(405, types.INVALID_REQUEST, "the server sends nothing on its own", {"allow": "POST, DELETE"})
        task = request.query_params.get("task")
        if task and MCP_SESSION_ID_HEADER not in request.headers:
            try:
                self._world.find_task(task)
            except UserError as error:
                return _error(400, types.INVALID_PARAMS, str(error))
        return None


def _error(status: int, code: int, message: str, headers: dict[str, str] | None = None) -> Response:
    body = types.JSONRPCError(jsonrpc="2.0", id=None, error=types.ErrorData(code=code, message=message))
    return JSONResponse(body.model_dump(mode="json", exclude_unset=True), status, headers)
