"""Where a dialogue met what its tasks expect: the gold calls that were made and the values that were told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from core.dialogue import Dialogue, PlannedCall
from core.messages import AssistantMessage
from core.page.contents import Expected
from core.typography import same_values
from generation.report.replaying import CallKey
from generation.tasks.mentions import mentions_value


@dataclass(frozen=True)
class MetTask:
    """What one task expects and where it was met; `calls` are the calls that are gold calls, each with its place among
    the gold calls."""

    gold_calls: tuple[Expected, ...]
    told_values: tuple[Expected, ...]
    calls: dict[CallKey, int]


def met_tasks(dialogue: Dialogue) -> list[MetTask]:
    """One entry for each task, also for tasks that were never played."""
    return [_met(dialogue, number) for number in range(len(dialogue.tasks))]


def call_text(call: PlannedCall) -> str:
    """`move_visit(visit_id=204, day="2025-03-14")`."""
    arguments = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in call.arguments.items())
    return f"{call.tool}({', '.join(arguments)})"


def _met(dialogue: Dialogue, number: int) -> MetTask:
    task, played = dialogue.tasks[number], number < len(dialogue.task_starts)
    calls: dict[CallKey, int] = {}
    gold_calls = []
    for place, gold in enumerate(task.gold_calls):
        found = _made(dialogue, number, gold, calls) if played else None
        if found:
            calls.setdefault(found, place)
        gold_calls.append(Expected(text=call_text(gold), met_at=found[0] if found else None))
    answers = list(_answers(dialogue, number)) if played else []
    told = tuple(Expected(text=value, met_at=_told_at(answers, value)) for value in task.told_values)
    return MetTask(tuple(gold_calls), told, calls)


def _made(dialogue: Dialogue, number: int, gold: PlannedCall, taken: dict[CallKey, int]) -> CallKey | None:
    """The first call that equals a gold call and does not yet stand for an equal one before it; else the first."""
    equal = [
        key
        for key, tool, arguments in (_of_user if gold.actor == "user" else _of_agent)(dialogue, number)
        if tool == gold.tool and same_values(arguments, gold.arguments)
    ]
    return next((key for key in equal if key not in taken), equal[0] if equal else None)


def user_call_id(number: int) -> str:
    """Stands for the id that a call of the agent has, for the user's action `number` of the dialogue."""
    return f"user_{number}"


def _of_user(dialogue: Dialogue, number: int) -> Iterator[tuple[CallKey, str, dict[str, Any]]]:
    within = dialogue.actions(number)
    for place, action in enumerate(dialogue.user_actions):
        if action in within:
            yield (action.message, user_call_id(place)), action.tool, action.arguments


def _of_agent(dialogue: Dialogue, number: int) -> Iterator[tuple[CallKey, str, dict[str, Any]]]:
    for position, call, arguments, _ in dialogue.executed(number):
        yield (position, call.id), call.name, arguments


def _answers(dialogue: Dialogue, number: int) -> Iterator[tuple[int, str]]:
    for position, message in enumerate(dialogue.part(number), dialogue.task_starts[number]):
        if isinstance(message, AssistantMessage):
            yield position, message.content


def _told_at(answers: list[tuple[int, str]], value: str) -> int | None:
    """The first answer that mentions the value; of a value whose parts are in several answers (validation reads all of
    them as one text), the answer that completes it."""
    said = ""
    completed = None
    for position, answer in answers:
        if mentions_value(answer, value):
            return position
        said = f"{said} {answer}"
        if completed is None and mentions_value(said, value):
            completed = position
    return completed
