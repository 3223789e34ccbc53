"""Where domains come from: a seed names one relational database."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from core.messages import Frozen


class Seed(Frozen):
    """One database to generate from. `held_out` ones are for evaluation only and refused as training seeds."""

    name: str
    database: Path
    description: str
    source: str
    licence: str
    held_out: bool = False


class Seeds(Protocol):
    """A source of seeds. Cheap to construct; `load` does the work and raises UserError for what is missing."""

    def load(self) -> tuple[Seed, ...]:
        """The seeds, sorted by name, each database file ready to open."""
        ...
