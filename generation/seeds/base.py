"""Seeds, the sources of domains: each is one relational database, or a set of tools to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from pydantic import Field

from core.messages import Frozen, ToolSpec
from core.policy import Policy

Rows = dict[str, list[dict[str, Any]]]
"""Table, or kind of record -> some of its rows: a limited data view."""


class Seed(Frozen):
    """One domain to generate from: a `database`, or `tools` with optional example `rows`.

    `title` and `description` complete "You are the assistant of the {title} service. {description}": the title is in
    lower case, the description in full sentences; empty, the model writes both before it makes the tools. Rows with the
    same index in different kinds belong together: a user, one of their orders, a product in it. `engine` names what
    executes the tools ("tau2"); without one they can only be simulated. A database may come with its tools, each with a
    statement in `statements`, and with `user_tools` of the user; else a model writes its tools. `policy` is one that
    the domain brings with it. `now` is the date and time of every dialogue where the data need a certain one, or a date
    alone: dialogues then take place within two weeks from it. `held_out` seeds are for evaluation only; generation
    refuses them.
    """

    name: str
    title: str = ""
    description: str = ""
    source: str
    licence: str
    database: Path | None = None
    tools: tuple[ToolSpec, ...] = ()
    user_tools: tuple[ToolSpec, ...] = ()
    statements: dict[str, str] = Field(default_factory=dict)
    engine: str | None = None
    policy: Policy | None = None
    rows: Rows = Field(default_factory=dict)
    now: str = ""
    held_out: bool = False

    @property
    def called(self) -> str:
        """The domain's name in prompts."""
        return self.title or self.name.replace("_", " ")


class Seeds(Protocol):
    """A source of seeds. Cheap to construct; `load` does the work and raises UserError for anything missing."""

    def load(self) -> tuple[Seed, ...]:
        """The seeds, sorted by name, each database file ready to open."""
        ...
