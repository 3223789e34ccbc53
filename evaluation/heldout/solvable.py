"""Whether tasks can be solved although tools are faulty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.dialogue import PlannedCall, Task
from core.placeholders import placeholder
from generation.environments.base import Environment
from generation.environments.distortion import other_name
from generation.tasks.mentions import mentions_value

ATTEMPTS = 3
"""A failing call is corrected and repeated, as an agent could do."""


async def solvable(tasks: Sequence[Task], environment: Environment) -> bool:
    """Whether the gold calls succeed in `environment`, if need be when repeated or with the argument names that an
    error asks for, and whether their results contain every value that later calls and the answer to the user need."""
    for task in tasks:
        results: list[str] = []
        for planned, gold in zip(task.plan, task.gold_calls, strict=True):
            needed = [str(gold.arguments[name]) for name, value in planned.arguments.items() if placeholder(value)]
            if not _all_mentioned(needed, results):
                return False
            result = await _call(gold, environment)
            if result is None:
                return False
            results.append(result)
        if not _all_mentioned(task.told_values, results):
            return False
    return True


def _all_mentioned(values: Sequence[str], results: Sequence[str]) -> bool:
    text = "\n".join(results)
    return all(mentions_value(text, value) for value in values)


async def _call(call: PlannedCall, environment: Environment) -> str | None:
    """The result of a call; None if it still fails after `ATTEMPTS`."""
    arguments: dict[str, Any] = call.arguments
    for _ in range(ATTEMPTS):
        result = await environment.call(call.tool, arguments)
        if not result.error:
            return result.content
        arguments = {
            other_name(name) if f"unknown argument {name!r}" in result.content else name: value
            for name, value in arguments.items()
        }
    return None
