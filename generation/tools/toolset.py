"""A domain's tools: what the agent sees of them, and what executes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from core.messages import Frozen, ToolSpec
from core.policy import Policy
from core.provenance import Provenance
from core.usage import Usage
from generation.database.sql_tools import SqlTool
from generation.seeds.base import Rows


class ToolsetProvenance(Provenance):
    """Where a toolset comes from, and what the model requests for it cost."""

    usage: Usage | None = None


MIN_TOOLS = 3
"""A domain with fewer valid tools offers no multi-step task and is refused."""


class Toolset(Frozen):
    """One line of toolsets.jsonl."""

    domain: str
    title: str = Field(default="", description="the domain's name in prompts, in lower case; empty: `domain`")
    description: str = Field(description="what the service is, in full sentences")
    now: str = Field(
        default="",
        description="the date and time of every dialogue; a date alone: each has a time within two weeks from it; empty: any time",
    )
    tools: tuple[ToolSpec, ...] = ()
    engine: str | None = Field(
        default=None, description="what executes the tools: sql, tau2 or a plug-in environment's; null: only simulated"
    )
    user_tools: tuple[ToolSpec, ...] = Field(default=(), description="tools that only the user has")
    statements: dict[str, str] = Field(
        default_factory=dict, description="each tool's SQL by name, also the user's, for engine sql"
    )
    database: Path | None = None
    database_sha256: str | None = Field(default=None, description="pins the data that a run's dialogues acted on")
    policy: Policy | None = Field(default=None, description="the rules that the domain's assistant must follow")
    rows: Rows = Field(default_factory=dict, description="a limited data view, where no database provides one")
    pipelines: tuple[str, ...] = Field(
        default=(), description="the pipelines that it was made for, where they have different sources; empty: all"
    )
    refused: tuple[str, ...] = Field(default=(), description="proposed tools that were not valid, each with the reason")
    left_out: tuple[str, ...] = Field(
        default=(),
        description="tables, views and writes of the database that do not serve, ignored triggers, with reasons",
    )
    counts: dict[str, int] = Field(
        default_factory=dict, description="what was done to make the set: questions, proposed, merged_duplicates, …"
    )
    provenance: ToolsetProvenance = ToolsetProvenance()

    @property
    def called(self) -> str:
        """The domain's name in prompts."""
        return self.title or self.domain.replace("_", " ")

    @property
    def sql_tools(self) -> tuple[SqlTool, ...]:
        """The tools with their statements, the user's last. Raises KeyError if a tool has none."""
        tools = (*self.tools, *self.user_tools)
        return tuple(SqlTool(spec=tool, sql=self.statements[tool.name]) for tool in tools)


def toolsets_for(pipeline: str, toolsets: Sequence[Toolset]) -> list[Toolset]:
    """The toolsets that were made for a pipeline; if there are none, as in a file of another run, all of them."""
    own = [toolset for toolset in toolsets if not toolset.pipelines or pipeline in toolset.pipelines]
    return own or list(toolsets)
