"""A domain's tools: what the agent sees of them, and what stands behind them."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from core.dialogue import Usage
from core.messages import Frozen, ToolSpec
from core.provenance import Provenance
from generation.database.sql_tools import SqlTool
from generation.seeds.base import Rows


class ToolsetProvenance(Provenance):
    """Where a toolset comes from, and what the model requests for it cost."""

    usage: Usage | None = None


class Toolset(Frozen):
    """One line of toolsets.jsonl.

    `engine` says what executes the tools ("sql", "tau2", or what another environment takes); None: they can only be simulated.
    `statements` holds the SQL of each tool by its name where the engine is "sql"; `database_sha256` pins the data that the
    dialogues of a run acted on. `rows` is a limited data view where there is no database to take one from. `refused` says
    which proposed tools did not hold, and why; `counts` what was done to make the set (questions, proposed, merged, …).
    """

    domain: str
    description: str
    tools: tuple[ToolSpec, ...] = ()
    engine: str | None = None
    statements: dict[str, str] = Field(default_factory=dict)
    database: Path | None = None
    database_sha256: str | None = None
    rows: Rows = Field(default_factory=dict)
    refused: tuple[str, ...] = ()
    counts: dict[str, int] = Field(default_factory=dict)
    provenance: ToolsetProvenance = ToolsetProvenance()

    @property
    def sql_tools(self) -> tuple[SqlTool, ...]:
        """The tools with their statements. Raises KeyError where one has none."""
        return tuple(SqlTool(spec=tool, sql=self.statements[tool.name]) for tool in self.tools)
