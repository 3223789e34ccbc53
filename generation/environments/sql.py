"""Tools that run for real: parameterised SQL on a private copy of a domain's database."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.messages import Message, ToolSpec
from core.settings import UserError
from generation.database.guard import SqlError
from generation.database.image import Image
from generation.database.sandbox import Limits, Sandbox, Statement
from generation.database.sql_tools import SqlTool, ToolError, compile_tool
from generation.environments.base import PastCall, ToolResult
from generation.llm.meter import Meter
from generation.tools.toolset import Toolset

_MAX_RESULT = 100_000  # characters


class SqlDomainEnvironment:
    """A database file and its tools. Environments are copies in memory, used again once they are closed: their number,
    and so the memory (one copy of the database each), follows what is open at the same time."""

    def __init__(
        self,
        domain: str,
        database: Path,
        tools: tuple[SqlTool, ...],
        row_cap: int = 50,
        time_limit_s: float = 1.0,
    ) -> None:
        """Raises UserError for an unreadable database or a tool that may not run on it."""
        self.domain = domain
        self.tools = tuple(tool.spec for tool in tools)
        self._image = Image.read(database)
        self._limits = Limits(rows=row_cap, seconds=time_limit_s)
        self._free = [Sandbox(self._image, self._limits)]
        self._all = list(self._free)
        self._closed = False
        self.statements = {tool.spec.name: self._compile(tool) for tool in tools}
        if len(self.statements) != len(tools):
            raise UserError(f"tools of one world need different names, given: {sorted(t.name for t in self.tools)}")

    def _compile(self, tool: SqlTool) -> tuple[ToolSpec, Statement]:
        try:
            return tool.spec, compile_tool(tool, self._free[0])
        except ToolError as error:
            raise UserError(f"the tool {tool.spec.name} cannot be used on {self.domain}: {error}") from None

    def open(self, snapshot: bytes | None = None) -> SqlEnvironment:
        """Raises ValueError for a snapshot of another database."""
        assert not self._closed, "the world was closed"
        sandbox = self._free.pop() if self._free else self._new_sandbox()
        try:
            if snapshot:
                sandbox.reset(snapshot)
        except ValueError:
            self.release(sandbox)
            raise
        return SqlEnvironment(self, sandbox)

    def _new_sandbox(self) -> Sandbox:
        self._all.append(Sandbox(self._image, self._limits))
        return self._all[-1]

    def release(self, sandbox: Sandbox) -> None:
        """Take back a sandbox, at its initial state, for the next environment."""
        if not self._closed:
            sandbox.reset()
            self._free.append(sandbox)

    def close(self) -> None:
        """Free all memory, that of environments still open included."""
        self._closed = True
        for sandbox in self._all:
            sandbox.close()
        self._all, self._free = [], []


class SqlEnvironment:
    """One dialogue's private state of a `SqlDomainEnvironment`."""

    executable = True

    def __init__(self, domain_environment: SqlDomainEnvironment, sandbox: Sandbox) -> None:
        self.tools = domain_environment.tools
        self._world = domain_environment
        self._sandbox: Sandbox | None = sandbox

    @property
    def _open(self) -> Sandbox:
        assert self._sandbox is not None, "the environment was closed"
        return self._sandbox

    async def call(self, name: str, arguments: dict[str, Any], transcript: Sequence[Message] = ()) -> ToolResult:
        """Reads give a JSON array of row objects, verbatim; an INSERT gives {"rows_affected": 1, "<key>": new key}, UPDATE and
        DELETE {"rows_affected": n}. Whatever fails gives {"error": why} and leaves the state as it was."""
        try:
            value = self._run(name, arguments)
            content = json.dumps(value, ensure_ascii=False)
            if len(content) > _MAX_RESULT:
                raise SqlError(f"the result is too large ({len(content)} characters); ask for less")
        except SqlError as error:
            value = {"error": str(error)}
            return ToolResult(json.dumps(value, ensure_ascii=False), value, error=True)
        return ToolResult(content, value)

    async def retrace(self, calls: Sequence[PastCall]) -> bool:
        for name, arguments, recorded in calls:
            if (await self.call(name, arguments)).content != recorded:
                return False
        return True

    def _run(self, name: str, arguments: dict[str, Any]) -> Any:
        if name not in self._world.statements:
            raise SqlError(f"there is no tool {name!r}; there are: {', '.join(sorted(self._world.statements))}")
        spec, statement = self._world.statements[name]
        expected = spec.parameters.get("properties", {})
        if unknown := sorted(set(arguments) - set(expected)):
            raise SqlError(f"unknown argument {unknown[0]!r}; expected: {', '.join(expected) or 'none'}")
        if problem := spec.argument_error(arguments):
            raise SqlError(f"invalid arguments: {problem}")
        for key, value in arguments.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise SqlError(f"invalid arguments: {key}: {value} is not a finite number")
        return self._open.run(statement, arguments)

    def snapshot(self) -> bytes:
        return self._open.changeset

    def fork(self) -> SqlEnvironment:
        return self._world.open(self.snapshot())

    def state_hash(self) -> str:
        return hashlib.sha256("\n".join(self.state_diff()).encode()).hexdigest()

    def state_diff(self) -> tuple[str, ...]:
        return self._open.changes

    def reset(self) -> None:
        self._open.reset()

    def close(self) -> None:
        if self._sandbox is not None:
            self._world.release(self._sandbox)
            self._sandbox = None


class SqlEnvironmentFactory:
    """The worlds of a run's toolsets, each made on first use and shared by all its dialogues."""

    executable = True
    engine: str | None = "sql"

    def __init__(self, row_cap: int = 50, time_limit_s: float = 1.0) -> None:
        """Raises UserError for limits that let nothing through."""
        if not isinstance(row_cap, int) or row_cap < 1:
            raise UserError(f"environment sql: row_cap={row_cap!r} was given; a whole number from 1 is expected")
        if not isinstance(time_limit_s, int | float) or time_limit_s <= 0:
            raise UserError(f"environment sql: time_limit_s={time_limit_s!r} was given; seconds above 0 are expected")
        self.row_cap = row_cap
        self.time_limit_s = time_limit_s
        self._worlds: dict[str, SqlDomainEnvironment] = {}

    def for_domain(self, toolset: Toolset, meter: Meter, dialogue_id: str) -> SqlDomainEnvironment:
        """Raises UserError where the toolset does not fit its database (any more)."""
        if toolset.domain not in self._worlds:
            if toolset.database is None:
                raise UserError(f"the toolset of {toolset.domain} names no database; engine sql needs one")
            self._worlds[toolset.domain] = SqlDomainEnvironment(
                toolset.domain, toolset.database, toolset.sql_tools, self.row_cap, self.time_limit_s
            )
        return self._worlds[toolset.domain]

    def close(self) -> None:
        for domain_environment in self._worlds.values():
            domain_environment.close()
        self._worlds.clear()
