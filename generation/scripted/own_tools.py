"""How a scripted user follows instructions with tools of its own: only those of the assistant's latest message, one
call after another, and in the end a report of what the tools returned. Without an instruction it does nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from core.placeholders import rows_of
from generation.specs.json_values import json_or_text
from generation.utterances.instructions import Instruction, instructed

_SWITCHED = re.compile(r"\bis (?:now |currently )?(?:turned )?(on|off)\b", re.I)


class Following(NamedTuple):
    """Where a user stands with the instructions of a message: what it does next, None when it is through, and what its
    calls have returned."""

    next: Instruction | None
    results: list[tuple[Instruction, str]]
    unclear: list[str]
    """Tools that it was told to use without the values that they need."""


def follow(
    message: str, results: Sequence[str], tools: Sequence[Mapping[str, Any]], known: str = ""
) -> Following | None:
    """None if the message instructs nothing. `results` are those of the calls made since the message, in order; `known`
    is what the user knows besides (see `instructed`).

    A switch that is in the wanted state only after a second call gets it.
    """
    asked = instructed(message, tools, known)
    if not asked:
        return None
    steps = [instruction for instruction in asked if instruction.arguments is not None]
    unclear = [instruction.tool for instruction in asked if instruction.arguments is None]
    returned: list[tuple[Instruction, str]] = []
    again = False
    for result in results:
        if not steps:
            break
        again = not again and _contradicts(result, steps[0].wanted)
        if not again:
            returned.append((steps.pop(0), result))
    return Following(steps[0] if steps else None, returned, unclear)


def report(following: Following) -> str:
    """What the user tells the assistant in the end: fields in words, everything else as it was shown."""
    lines = [_told(use, result) for use, result in following.results]
    lines += [f"I do not know what exactly to enter for: {_spoken(tool)}." for tool in following.unclear]
    return " ".join(lines)


def _told(use: Instruction, result: str) -> str:
    shown = rows_of(json_or_text(result))
    about = next((f" of {value}" for value in (use.arguments or {}).values() if re.search(r"\d", str(value))), "")
    match shown:
        case [{"rows_affected": int(count)}] if count:
            return f"I did that: {_spoken(use.tool)}{about.replace(' of ', ' on ')}."
        case [{"rows_affected": 0}]:
            return f"I tried to {_spoken(use.tool)}, but nothing happened."
        case [dict(row)] if "error" not in row:
            return " ".join(f"The {_spoken(name)}{about} is {value}." for name, value in row.items())
    return f'I did that: {_spoken(use.tool)}. It shows: "{" ".join(result.split())}"'


def _contradicts(result: str, wanted: str) -> bool:
    state = _SWITCHED.search(result)
    return bool(wanted and state and state[1].lower() != wanted)


def _spoken(tool: str) -> str:
    return tool.replace("_", " ")
