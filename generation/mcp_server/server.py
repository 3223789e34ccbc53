"""The MCP server: lists and calls the tools of each session's world, and shows a session its own state.

Specification: https://modelcontextprotocol.io/specification/2025-11-25. Revisions from 2026-07-28 on have no sessions,
and so no world to act in: such clients are answered with the revisions that have them, which they fall back to.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

from mcp import MCPError, types
from mcp.server.connection import Connection
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS

from core.dialogue import Dialogue
from core.settings import UserError
from generation.environments.base import ToolResult
from generation.mcp_server.session import Session
from generation.mcp_server.world import World

STATE_URI = "world://state"
_SESSION = "session"

Context = ServerRequestContext[Any, Any]


class ToolServer:
    """An MCP server over `world`. `on_close` gets each session and its dialogues when it has closed.

    `task` is the task that sessions are opened for. Over HTTP, the query `?task=…` of the first request may name
    another one.
    """

    def __init__(
        self,
        world: World,
        on_close: Callable[[Session, list[Dialogue]], None],
        version: str,
        task: str | None = None,
        first_number: int = 1,
    ) -> None:
        self.world = world
        self.task = task
        self._numbers = itertools.count(first_number)
        self._on_close = on_close
        self.protocol: Server[Any] = Server(
            "user-oriented-dialogues",
            version=version,
            instructions=world.instructions,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_list_resources=self._list_resources,
            on_read_resource=self._read_resource,
        )
        self.protocol.middleware.append(self._open_session)

    async def _open_session(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Opens the world of a session when its client initialises it."""
        if ctx.protocol_version not in HANDSHAKE_PROTOCOL_VERSIONS:
            raise MCPError(
                code=types.UNSUPPORTED_PROTOCOL_VERSION,
                message="each session has a world of its own, and this revision of the protocol has no sessions",
                data={"supported": list(HANDSHAKE_PROTOCOL_VERSIONS), "requested": ctx.protocol_version},
            )
        if ctx.method != "initialize":
            return await call_next(ctx)
        connection = _connection(ctx)
        if _SESSION in connection.state:
            raise MCPError(code=types.INVALID_REQUEST, message="the session was initialised before")
        answer = await call_next(ctx)
        task = ctx.request.query_params.get("task") if ctx.request is not None else None
        try:
            session = await self.world.open(next(self._numbers), task or self.task)
        except UserError as error:
            raise MCPError(code=types.INVALID_PARAMS, message=str(error)) from None
        connection.state[_SESSION] = session
        connection.exit_stack.push_async_callback(self._close_session, session)
        return answer

    async def _close_session(self, session: Session) -> None:
        self._on_close(session, await session.close())

    async def _list_tools(
        self, context: Context, parameters: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        tools = _session(context).tools.values()
        return types.ListToolsResult(
            tools=[
                types.Tool(name=tool.name, description=tool.description, input_schema=tool.parameters) for tool in tools
            ]
        )

    async def _call_tool(self, context: Context, parameters: types.CallToolRequestParams) -> types.CallToolResult:
        return call_result(await _session(context).call(parameters.name, parameters.arguments or {}))

    async def _list_resources(
        self, context: Context, parameters: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        state = types.Resource(
            name="state",
            uri=STATE_URI,
            description="This session: its number, its calls, and how the state of each domain has changed.",
            mime_type="application/json",
        )
        return types.ListResourcesResult(resources=[state])

    async def _read_resource(
        self, context: Context, parameters: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        if str(parameters.uri) != STATE_URI:
            raise MCPError(
                code=types.INVALID_PARAMS, message=f"there is no resource {parameters.uri}; there is: {STATE_URI}"
            )
        text = json.dumps(_session(context).state(), ensure_ascii=False)
        contents = types.TextResourceContents(uri=STATE_URI, mime_type="application/json", text=_encodable(text))
        return types.ReadResourceResult(contents=[contents])


def call_result(result: ToolResult) -> types.CallToolResult:
    """A tool's result in MCP's form: its text, verbatim."""
    content = types.TextContent(type="text", text=_encodable(result.content))
    return types.CallToolResult(content=[content], is_error=result.error)


def _encodable(text: str) -> str:
    """The text without lone surrogates, which UTF-8 has no bytes for: an error may quote an argument."""
    return text.encode(errors="replace").decode()


def _connection(context: Context) -> Connection:
    # The SDK hands over a connection's state and exit stack under no public name yet; its version is pinned exactly.
    return context.session._connection


def _session(context: Context) -> Session:
    """The session of the client that sent this request. Raises MCPError before it is initialised."""
    session = _connection(context).state.get(_SESSION)
    if not isinstance(session, Session):
        raise MCPError(code=types.INVALID_REQUEST, message="the session is not initialised")
    return session
