"""How a scripted user follows instructions with tools of its own: only those of the assistant's latest message, one
call after another, and in the end a report of what the tools returned. Without an instruction it does nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from generation.utterances.instructions import Instruction, instructed

_SWITCHED = re.compile(r"\bis (?:now |currently )?(?:turned )?(on|off)\b", re.I)


class Following(NamedTuple):
    """Where a user stands with the instructions of a message: what it does next, None when it is through, and what its
    calls have returned, by tool."""

    next: Instruction | None
    results: list[tuple[str, str]]
    unclear: list[str]
    """Tools that it was told to use without the values that they need."""


def follow(message: str, results: Sequence[str], tools: Sequence[Mapping[str, Any]]) -> Following | None:
    """`results` of the calls made since the message, in order; None if the message instructs nothing.

    A switch that is in the wanted state only after a second call gets it.
    """
    asked = instructed(message, tools)
    if not asked:
        return None
    steps = [instruction for instruction in asked if instruction.arguments is not None]
    unclear = [instruction.tool for instruction in asked if instruction.arguments is None]
    returned: list[tuple[str, str]] = []
    again = False
    for result in results:
        if not steps:
            break
        again = not again and _contradicts(result, steps[0].wanted)
        if not again:
            returned.append((steps.pop(0).tool, result))
    return Following(steps[0] if steps else None, returned, unclear)


def report(following: Following) -> str:
    """What the user tells the assistant in the end."""
    said = [f'{_spoken(tool)}: "{" ".join(result.split())}"' for tool, result in following.results]
    lines = [f"I did what you said. {'; '.join(said)}"] if said else []
    lines += [f"I do not know what exactly to enter for: {_spoken(tool)}." for tool in following.unclear]
    return " ".join(lines)


def _contradicts(result: str, wanted: str) -> bool:
    state = _SWITCHED.search(result)
    return bool(wanted and state and state[1].lower() != wanted)


def _spoken(tool: str) -> str:
    return tool.replace("_", " ")
