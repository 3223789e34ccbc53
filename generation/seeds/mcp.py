"""Seeds from MCP servers: one domain of the tools that a server lists."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from core.settings import UserError
from generation.seeds.base import Seed
from generation.services.base import UnreachableError
from generation.services.mcp import McpServer, offer
from generation.specs.json_values import json_or_text
from generation.specs.spelling import snake
from generation.specs.titles import title_of, tool_nouns

log = logging.getLogger(__name__)

ENGINE = "mcp"
MAX_ROWS = 40
"""Rows of a sample that are kept."""
_NO_KIND = {"list", "get", "all", "search", "find", "fetch"}


class McpSeeds:
    """The tools of the server that `command` starts, or that runs at `url`, as one domain.

    The server is asked for its tools once and then left: they are simulated, unless the pipeline's environment is mcp.
    `name` is the domain's (None: what the server calls itself); `variables` are the names of environment variables that
    the command gets. Tools that cannot be used are logged. `samples` are tools that are called once, without arguments:
    the rows that they list are what the task writer knows of the service's data.
    """

    def __init__(
        self,
        command: str | None = None,
        url: str | None = None,
        name: str | None = None,
        licence: str = "not stated",
        variables: Sequence[str] = (),
        samples: Sequence[str] = (),
        timeout_s: float = 60.0,
    ) -> None:
        self.command = command
        self.url = url
        self.name = name
        self.licence = licence
        self.variables = variables
        self.samples = samples
        self.timeout_s = timeout_s

    def load(self) -> tuple[Seed, ...]:
        server = McpServer.given(self.command, self.url, self.variables, self.timeout_s)
        try:
            found = asyncio.run(offer(server, self.samples))
        except UnreachableError as error:
            raise UserError(f"{error}; expected: an MCP server that lists its tools") from None
        if not found.tools:
            raise UserError(f"{server.where} lists no tool that can be used{_reasons(found.unusable)}")
        for why in found.unusable:
            log.warning("%s: a tool is left out: %s", server.where, why)
        name = self.name or snake(found.server) or "mcp"
        return (
            Seed(
                name=name,
                title=title_of(name, tool_nouns(found.tools)),
                source=ENGINE,
                licence=self.licence,
                tools=found.tools,
                engine=ENGINE,
                rows={_kind(tool): _rows(tool, text) for tool, text in found.samples.items()},
            ),
        )


def _kind(tool: str) -> str:
    """What a tool lists: list_all_members -> members."""
    return "_".join(words for words in tool.split("_") if words not in _NO_KIND) or tool


def _rows(tool: str, text: str) -> list[dict[str, Any]]:
    """Some of the rows in a result: a list of objects, or an object with one. Raises UserError for anything else."""
    value = json_or_text(text)
    parts = list(value.values()) if isinstance(value, dict) else [value]
    rows: list[Any] = next((part for part in parts if isinstance(part, list)), [])
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"samples: {tool} returns {text[:80]!r}; expected: a list of objects")
    return rows[:MAX_ROWS]


def _reasons(unusable: Sequence[str]) -> str:
    return f": {'; '.join(unusable[:3])}" if unusable else ""
