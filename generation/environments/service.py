"""Tools that a real service executes: an MCP server, or an HTTP interface that an OpenAPI document describes.

Such a service can be neither forked nor set back, and no one sees its state. So it is not `executable` in the sense of
generation.environments.base: nothing is proved, and the judge decides.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from core.messages import Message, ToolSpec
from core.settings import UserError
from generation.environments.base import PastCall, ToolResult
from generation.llm.base import LLMError
from generation.llm.meter import Meter
from generation.seeds import mcp, openapi
from generation.services.base import Connection, UnreachableError
from generation.services.http import HttpConnection, HttpService
from generation.services.mcp import McpServer, McpSessions
from generation.services.openapi import read_document
from generation.specs.json_values import json_or_text
from generation.tools.toolset import Toolset


@dataclass(frozen=True)
class ServiceDomainEnvironment:
    """A service's tools; each environment has a connection of its own."""

    domain: str
    tools: tuple[ToolSpec, ...]
    connect: Callable[[], Connection]

    def open(self, snapshot: bytes | None = None) -> ServiceEnvironment:
        """Raises UserError for a snapshot with calls."""
        if snapshot and json.loads(snapshot):
            _refuse("put into an earlier state")
        return ServiceEnvironment(self)

    def close(self) -> None:
        """No resources to release."""


class ServiceEnvironment:
    """One dialogue's connection. Whether its changes are its own is up to the service: an MCP server may keep a state
    for each session, and others share theirs among all dialogues."""

    executable = False

    def __init__(self, domain_environment: ServiceDomainEnvironment) -> None:
        self.tools = domain_environment.tools
        self._connection = domain_environment.connect()
        self._calls: list[PastCall] = []

    async def call(self, name: str, arguments: dict[str, Any], transcript: Sequence[Message] = ()) -> ToolResult:
        """Raises LLMError if the service cannot be reached, so that the dialogue is tried again later."""
        tool = next((tool for tool in self.tools if tool.name == name), None)
        if tool is None:
            return ToolResult.failed(
                f"unknown tool {name!r}; known: {', '.join(sorted(tool.name for tool in self.tools))}"
            )
        if problem := tool.argument_error(arguments):
            return ToolResult.failed(f"arguments of {name} do not fit: {problem}")
        try:
            answer = await self._connection.call(name, arguments)
        except UnreachableError as error:
            raise LLMError(f"the service of the tools cannot be reached: {error}") from None
        self._calls.append((name, arguments, answer.text))
        return ToolResult(answer.text, json_or_text(answer.text), answer.error)

    async def retrace(self, calls: Sequence[PastCall]) -> bool:
        """Makes the calls once more, for real."""
        return all([(await self.call(name, arguments)).content == content for name, arguments, content in calls])

    def snapshot(self) -> bytes:
        """The calls so far; the state itself is the service's."""
        return json.dumps(self._calls, ensure_ascii=False).encode()

    def fork(self) -> ServiceEnvironment:
        """Raises UserError."""
        _refuse("forked")

    def state_hash(self) -> str:
        """SHA-256 of the calls so far."""
        return hashlib.sha256(self.snapshot()).hexdigest()

    def state_diff(self) -> tuple[str, ...]:
        """Empty: no one sees the state."""
        return ()

    def reset(self) -> None:
        """Raises UserError."""
        _refuse("set back")

    def close(self) -> None:
        self._connection.close()


class McpEnvironmentFactory:
    """Implements generation.environments.base.EnvironmentFactory on an MCP server: each dialogue has a session of its
    own or, of a `command`, a process of its own."""

    executable = False
    engine: str | None = mcp.ENGINE

    def __init__(
        self,
        command: str | None = None,
        url: str | None = None,
        variables: Sequence[str] = (),
        timeout_s: float = 60.0,
    ) -> None:
        """Raises UserError unless one of `command` and `url` is given."""
        self._sessions = McpSessions(McpServer.given(command, url, variables, timeout_s))

    def for_domain(
        self, toolset: Toolset, meter: Meter, dialogue_id: str, now: str | None = None
    ) -> ServiceDomainEnvironment:
        return ServiceDomainEnvironment(toolset.domain, toolset.tools, self._sessions.open)

    def close(self) -> None:
        """End the sessions that are still open, and their processes."""
        self._sessions.close()


class OpenApiEnvironmentFactory:
    """Implements generation.environments.base.EnvironmentFactory on the HTTP interface at `base_url` that the documents
    `paths` describe."""

    executable = False
    engine: str | None = openapi.ENGINE

    def __init__(
        self,
        base_url: str | None = None,
        paths: Sequence[str | Path] | None = None,
        header_variables: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        """`header_variables` maps headers to the environment variables that hold them. Raises UserError for unusable
        documents, and without a base URL."""
        if isinstance(paths, str) or not paths:
            raise UserError(f"paths={paths} was given, but a list of OpenAPI documents is expected")
        self._services = {
            path.stem: HttpService.given(
                base_url,
                {operation.tool.name: operation for operation in read_document(path).operations},
                header_variables or {},
                timeout_s,
            )
            for path in map(Path, paths)
        }

    def for_domain(
        self, toolset: Toolset, meter: Meter, dialogue_id: str, now: str | None = None
    ) -> ServiceDomainEnvironment:
        """Raises UserError for a toolset that is not of the documents."""
        service = self._services.get(toolset.domain)
        if service is None or any(tool.name not in service.operations for tool in toolset.tools):
            raise UserError(
                f"the toolset {toolset.domain} has tools that the documents of the environment do not describe; expected: "
                f"those of {', '.join(self._services)}"
            )
        return ServiceDomainEnvironment(toolset.domain, toolset.tools, lambda: HttpConnection(service))

    def close(self) -> None:
        """No resources to release."""


def _refuse(what: str) -> NoReturn:
    raise UserError(f"a real service cannot be {what}: use a pipeline with simulated tools (environment=simulated)")
