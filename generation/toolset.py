"""A domain's tools: what the agent sees of them, and the SQL behind each where there is a database."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from core.dialogue import JsonObject
from core.messages import Frozen, ToolSpec
from generation.sql_tools import SqlTool


class Toolset(Frozen):
    """One line of toolsets.jsonl. `database_sha256` pins the data that the dialogues of this run acted on; `refused` says
    which proposed tools did not hold, and why."""

    domain: str
    description: str
    database: Path
    database_sha256: str
    tools: tuple[SqlTool, ...]
    refused: tuple[str, ...] = ()
    provenance: JsonObject = Field(default_factory=dict)

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        return tuple(tool.spec for tool in self.tools)
