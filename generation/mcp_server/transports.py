"""How clients reach the server: standard input and output, or HTTP on this machine's loopback interface alone."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any, cast
from urllib.parse import parse_qs

import anyio
import uvicorn
from mcp import types
from mcp.server.runner import serve_loop
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings

from core.settings import UserError
from generation.mcp_server.server import ToolServer

HOST, PATH = "127.0.0.1", "/mcp"
_LINE_TOO_LONG = "\n"
"""Stands for a message that is too long; it is not JSON, and so refused."""


async def serve_stdio(server: ToolServer, message_bytes: int) -> None:
    """Serve the one session of the process that started this one, until it closes standard input. Raises UserError if
    standard input is a file."""
    reader = asyncio.StreamReader(limit=message_bytes)
    try:
        # No thread reads: one that waits for a line would keep a process that is told to end.
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
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
    config = uvicorn.Config(_Gate(app, server), log_level="warning", lifespan="on", timeout_graceful_shutdown=3)
    return uvicorn.Server(config)


class _Gate:
    """Refuses what the SDK would let a session begin with: streams that the server has nothing to send on, which keep
    idle sessions alive, and tasks that do not exist, whose sessions would count as open."""

    def __init__(self, app: Callable[..., Any], server: ToolServer) -> None:
        self._app = app
        self._server = server

    async def __call__(self, scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        if scope["type"] == "http" and scope["method"] == "GET":
            await _answer(send, 405, types.INVALID_REQUEST, "the server sends nothing on its own")
            return
        if scope["type"] == "http" and (task := _task(scope)):
            try:
                self._server.world.find_task(task)
            except UserError as error:
                await _answer(send, 400, types.INVALID_PARAMS, str(error))
                return
        await self._app(scope, receive, send)


def _task(scope: dict[str, Any]) -> str:
    """The task in the query of a request that opens a session."""
    if any(name == b"mcp-session-id" for name, _ in scope["headers"]):
        return ""
    query: bytes = scope["query_string"]
    return parse_qs(query.decode("latin-1")).get("task", [""])[0]


async def _answer(send: Callable[..., Any], status: int, code: int, message: str) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 405:
        headers.append((b"allow", b"POST, DELETE"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
