"""Seeds with dual control: bundled support desks whose users have tools of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.policy import Policy
from generation.seeds.base import Seed
from generation.seeds.choice import choose
from generation.seeds.domains.domain import build
from generation.seeds.support_desks import card_terminals, smart_home
from generation.seeds.support_desks.desk import SupportDesk

DESKS = {desk.domain.name: desk for desk in (card_terminals.DESK, smart_home.DESK)}


class SupportDeskSeeds:
    """The support desks in `names` (None: all), each with its tools and procedures; databases are built under `cache`
    on first use."""

    def __init__(self, cache: str | Path, names: Sequence[str] | None = None) -> None:
        self.cache = Path(cache)
        self.names = names

    def load(self) -> tuple[Seed, ...]:
        return tuple(self._seed(DESKS[name]) for name in choose(self.names, DESKS, "names"))

    def _seed(self, desk: SupportDesk) -> Seed:
        domain = desk.domain
        return Seed(
            name=domain.name,
            title=domain.title,
            description=domain.description,
            source="bundled",
            licence="Apache-2.0",
            database=build(domain, self.cache),
            tools=tuple(tool.spec for tool in desk.tools),
            user_tools=tuple(tool.spec for tool in desk.user_tools),
            statements={tool.spec.name: tool.sql for tool in (*desk.tools, *desk.user_tools)},
            engine="sql",
            policy=Policy(workflows=desk.workflows),
        )
