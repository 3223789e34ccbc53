"""Tools that really run: parameterised SQL on a private copy of a domain's database."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from core.messages import Message, ToolSpec
from core.settings import Settings, UserError, typed
from core.typography import fold
from generation.database.guard import SqlError
from generation.database.image import Image
from generation.database.sandbox import DEFAULT_LIMITS, Limits, Sandbox, Statement
from generation.database.sql_tools import SqlTool, ToolError, compile_tool
from generation.environments.base import PastCall, ToolResult, forgiving
from generation.llm.meter import Meter
from generation.tools.toolset import Toolset

_MAX_RESULT = 100_000  # characters


class SqlDomainEnvironment:
    """A database file and its tools.

    Environments are in-memory copies of the database, reused once closed: memory grows with the number open at once.
    """

    def __init__(
        self,
        domain: str,
        database: Path,
        tools: tuple[SqlTool, ...],
        row_cap: int = DEFAULT_LIMITS.rows,
        time_limit_s: float = 1.0,
    ) -> None:
        """Raises UserError for an unreadable database or a tool that must not run on it."""
        self.domain = domain
        self.tools = tuple(tool.spec for tool in tools)
        self._image = Image.read(database)
        self._limits = Limits(rows=row_cap, seconds=time_limit_s)
        self._idle = [Sandbox(self._image, self._limits)]
        self._sandboxes = list(self._idle)  # all of them, in use or idle
        self._closed = False
        self.statements = {tool.spec.name: self._compile(tool) for tool in tools}
        if len(self.statements) != len(tools):
            raise UserError(f"tool names must be unique in {domain}; given: {sorted(tool.name for tool in self.tools)}")

    def _compile(self, tool: SqlTool) -> tuple[ToolSpec, Statement]:
        try:
            return tool.spec, compile_tool(tool, self._idle[0])
        except ToolError as error:
            raise UserError(f"the tool {tool.spec.name} cannot be used on {self.domain}: {error}") from None

    def open(self, snapshot: bytes | None = None) -> SqlEnvironment:
        """Raises ValueError for a snapshot of another database."""
        assert not self._closed, "the domain environment was closed"
        sandbox = self._idle.pop() if self._idle else self._new_sandbox()
        try:
            if snapshot:
                sandbox.reset(snapshot)
        except ValueError:
            self.release(sandbox)
            raise
        return SqlEnvironment(self, sandbox)

    def _new_sandbox(self) -> Sandbox:
        self._sandboxes.append(Sandbox(self._image, self._limits))
        return self._sandboxes[-1]

    def release(self, sandbox: Sandbox) -> None:
        """Reset a sandbox and keep it for the next environment."""
        if not self._closed:
            sandbox.reset()
            self._idle.append(sandbox)

    def close(self) -> None:
        """Free all memory, including that of environments still open."""
        self._closed = True
        for sandbox in self._sandboxes:
            sandbox.close()
        self._sandboxes, self._idle = [], []


class SqlEnvironment:
    """One dialogue's private state of a `SqlDomainEnvironment`."""

    executable = True

    def __init__(self, domain_environment: SqlDomainEnvironment, sandbox: Sandbox) -> None:
        self.tools = domain_environment.tools
        self._domain_environment = domain_environment
        self._sandbox: Sandbox | None = sandbox

    @property
    def _open_sandbox(self) -> Sandbox:
        assert self._sandbox is not None, "the environment was closed"
        return self._sandbox

    async def call(self, name: str, arguments: dict[str, Any], transcript: Sequence[Message] = ()) -> ToolResult:
        """SELECT returns a JSON array of row objects; INSERT {"rows_affected": 1, "<key>": new key}; UPDATE and DELETE
        {"rows_affected": n}. A failed call returns {"error": why} and leaves the state unchanged. Typographic
        characters in the arguments are read as typed (`forgiving`)."""
        return forgiving(lambda given: self._call(name, given), arguments)

    def _call(self, name: str, arguments: dict[str, Any]) -> ToolResult:
        try:
            value = self._run(name, arguments)
            content = json.dumps(value, ensure_ascii=False)
            if len(content) > _MAX_RESULT:
                raise SqlError(f"the result is too large ({len(content)} characters); ask for less")
        except SqlError as error:
            return ToolResult.failed(str(error))
        return ToolResult(content, value)

    async def retrace(self, calls: Sequence[PastCall]) -> bool:
        for name, arguments, recorded in calls:
            if (await self.call(name, arguments)).content != recorded:
                return False
        return True

    def _run(self, name: str, arguments: dict[str, Any]) -> Any:
        if name not in self._domain_environment.statements:
            raise SqlError(
                f"there is no tool {name!r}; there are: {', '.join(sorted(self._domain_environment.statements))}"
            )
        spec, statement = self._domain_environment.statements[name]
        expected = spec.parameters.get("properties", {})
        if unknown := sorted(set(arguments) - set(expected)):
            raise SqlError(f"unknown argument {unknown[0]!r}; expected: {', '.join(expected) or 'none'}")
        if problem := spec.argument_error(arguments):
            raise SqlError(f"invalid arguments: {problem}")
        for key, value in arguments.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise SqlError(f"invalid arguments: {key}: {value} is not a finite number")
        return self._open_sandbox.run(statement, arguments)

    def snapshot(self) -> bytes:
        return self._open_sandbox.changeset

    def fork(self) -> SqlEnvironment:
        return self._domain_environment.open(self.snapshot())

    def state_hash(self) -> str:
        lines = sorted(map(fold, self.state_diff()))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def state_diff(self) -> tuple[str, ...]:
        return self._open_sandbox.changes

    def reset(self) -> None:
        self._open_sandbox.reset()

    def close(self) -> None:
        if self._sandbox is not None:
            self._domain_environment.release(self._sandbox)
            self._sandbox = None


class SqlEnvironmentSettings(Settings):
    """Limits of one SQL tool call."""

    row_cap: int = Field(default=DEFAULT_LIMITS.rows, ge=1, description="rows of a result; a larger result is refused")
    time_limit_s: float = Field(default=1.0, gt=0, description="seconds one statement may run")


class SqlEnvironmentFactory:
    """Opens one SqlDomainEnvironment per domain, on first use, and shares it among all dialogues."""

    executable = True
    engine: str | None = "sql"

    def __init__(self, **settings: Any) -> None:
        """Takes the fields of SqlEnvironmentSettings. Raises UserError for an unknown or invalid one."""
        self.settings = typed(settings, SqlEnvironmentSettings, "environment")
        self._domains: dict[str, SqlDomainEnvironment] = {}

    def for_domain(
        self, toolset: Toolset, meter: Meter, dialogue_id: str, now: str | None = None
    ) -> SqlDomainEnvironment:
        """Raises UserError if the toolset does not fit its database (any more)."""
        if toolset.domain not in self._domains:
            if toolset.database is None:
                raise UserError(f"the toolset of {toolset.domain} names no database; engine sql needs one")
            self._domains[toolset.domain] = SqlDomainEnvironment(
                toolset.domain, toolset.database, toolset.sql_tools, self.settings.row_cap, self.settings.time_limit_s
            )
        return self._domains[toolset.domain]

    def close(self) -> None:
        for domain_environment in self._domains.values():
            domain_environment.close()
        self._domains.clear()
