"""What a service offers, and what its answers are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from generation.specs.formats import LONGEST_NAME, identifier

MAX_ANSWER = 100_000
"""Characters of a tool's answer that are read."""


class UnreachableError(Exception):
    """A service cannot be reached, or broke the connection off."""


@dataclass(frozen=True)
class Answer:
    """What a service answered to a call, verbatim; `error` marks a refused or failed one."""

    text: str
    error: bool = False

    @classmethod
    def failed(cls, problem: str) -> Answer:
        """The answer to a call that was refused or failed: {"error": problem}."""
        return cls(json.dumps({"error": problem}, ensure_ascii=False), error=True)


class Connection(Protocol):
    """A caller's own connection to a service. Opened by the first call."""

    async def call(self, name: str, arguments: dict[str, Any]) -> Answer:
        """Call a tool. Raises UnreachableError."""
        ...

    def close(self) -> None:
        """End the connection; at once, or as soon as the event loop runs on."""
        ...


def valid_name(raw: str, otherwise: str) -> str:
    """A name of letters, digits and underscores, at most 64 characters long; `otherwise` if nothing of it remains.

    >>> valid_name("pets/{pet-id}", "tool"), valid_name("2fa.reset", "tool"), valid_name("…", "tool")
    ('pets_pet_id', 'tool_2fa_reset', 'tool')
    """
    return identifier(raw, otherwise)[:LONGEST_NAME].rstrip("_") or otherwise


def unique_names(names: Iterable[str]) -> Iterator[str]:
    """The names, each at most 64 characters long and made different from those before it by a number.

    >>> list(unique_names(["list_pets", "get_pet", "list_pets"]))
    ['list_pets', 'get_pet', 'list_pets_2']
    """
    taken: set[str] = set()
    for name in names:
        unique, number = name[:LONGEST_NAME], 1
        while unique in taken:
            number += 1
            unique = f"{name[: LONGEST_NAME - len(str(number)) - 1]}_{number}"
        taken.add(unique)
        yield unique
