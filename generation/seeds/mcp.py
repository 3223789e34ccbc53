"""Seeds from MCP servers: one domain of the tools that a server lists."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from core.settings import UserError
from generation.seeds.base import Seed
from generation.services.base import UnreachableError
from generation.services.mcp import McpServer, offer
from generation.specs.spelling import snake
from generation.specs.titles import title_of, tool_nouns

log = logging.getLogger(__name__)

ENGINE = "mcp"


class McpSeeds:
    """The tools of the server that `command` starts, or that runs at `url`, as one domain.

    The server is asked for its tools once and then left: they are simulated, unless the pipeline's environment is mcp.
    `name` is the domain's (None: what the server calls itself); `variables` are the names of environment variables that
    the command gets. Tools that cannot be used are logged.
    """

    def __init__(
        self,
        command: str | None = None,
        url: str | None = None,
        name: str | None = None,
        licence: str = "not stated",
        variables: Sequence[str] = (),
        timeout_s: float = 30.0,
    ) -> None:
        self.command = command
        self.url = url
        self.name = name
        self.licence = licence
        self.variables = variables
        self.timeout_s = timeout_s

    def load(self) -> tuple[Seed, ...]:
        server = McpServer.given(self.command, self.url, self.variables, self.timeout_s)
        try:
            found = asyncio.run(offer(server))
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
            ),
        )


def _reasons(unusable: Sequence[str]) -> str:
    return f": {'; '.join(unusable[:3])}" if unusable else ""
