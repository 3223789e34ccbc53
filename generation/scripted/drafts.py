"""Task drafts, shared by the stand-in's two task writers: a draft grows move by move until it has the requested
difficulty."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from core.dialogue import PlannedCall
from generation.llm.contexts import TaskWriterContext
from generation.scripted.policy_keeping import keeps_policy
from generation.scripted.verbs import destroys
from generation.specs.naming import changes, is_identifier
from generation.specs.spelling import words
from generation.tasks.difficulty import BANDS, effort

_ATTEMPTS = 120


@dataclass
class Draft:
    """An unfinished task.

    `available` are the values that its calls return and later calls can use: the writer's key -> the index of the call.
    `literals` are the values it mentions: field -> value. `follows`: whether it uses a fact from an earlier task.
    """

    subgoals: list[str] = field(default_factory=list)
    plan: list[PlannedCall] = field(default_factory=list)
    available: dict[tuple[str, str], int] = field(default_factory=dict)
    literals: dict[str, Any] = field(default_factory=dict)
    follows: bool = False

    def call(self, tool: str, arguments: dict[str, Any], tell: list[str] | None = None) -> int:
        """Plan a call for the next subgoal and return its index."""
        self.plan.append(
            PlannedCall(tool=tool, arguments=arguments, subgoal=len(self.subgoals), tell=tuple(tell or ()))
        )
        return len(self.plan) - 1

    def copy(self) -> Draft:
        return replace(
            self,
            subgoals=list(self.subgoals),
            plan=list(self.plan),
            available=dict(self.available),
            literals=dict(self.literals),
        )

    @property
    def score(self) -> int:
        return effort(self.plan, [changes(call.tool) for call in self.plan]).score


Move = Callable[[Draft], str | None]
"""Adds its calls to the draft and returns the phrase of its subgoal, or None if it does not apply."""


def compose(context: TaskWriterContext, rng: Random, move: Move) -> Draft:
    """Add moves until the draft has the requested difficulty, never more. A follow-up starts with a learnt fact if some
    move can use one."""
    low, high = next(band for name, band in BANDS.items() if name == context.difficulty)
    goal = rng.randint(low, high or low + 3)
    deleted = {
        pair for task in context.previous for pair in _deleted_records(task.plan) if not pair[1].startswith("${")
    }
    draft = Draft()
    for attempt in range(_ATTEMPTS):
        if draft.score >= goal:
            break
        extended = draft.copy()
        subgoal = move(extended)
        if (
            subgoal is None
            or _clashes(subgoal, draft.subgoals)
            or not _is_consistent(extended.plan, deleted)
            or (high and extended.score > high)
            or not keeps_policy(extended.plan, context)
        ):
            continue
        if context.want_follow_up and not extended.follows and attempt < _ATTEMPTS // 2:
            continue
        extended.subgoals.append(subgoal)
        draft = extended
    return draft


def next_target(context: TaskWriterContext, draft: Draft, rng: Random) -> str | None:
    """A target tool that the draft does not use yet; now and then none, so that other tools get between them."""
    left = [name for name in context.targets if all(call.tool != name for call in draft.plan)]
    return rng.choice(left) if left and rng.random() < 0.8 else None


def _clashes(text: str, others: list[str]) -> bool:
    """Whether a subgoal differs from another one only in the new value, which would contradict it, or contains it, so
    that it could not be requested alone."""
    return any(
        text.rsplit(" to ", 1)[0] == other.rsplit(" to ", 1)[0] or text in other or other in text for other in others
    )


def _is_consistent(plan: Sequence[PlannedCall], deleted: set[tuple[str, str]]) -> bool:
    """Whether no call occurs twice and none is about a deleted record, be it deleted before the plan or by an earlier
    call."""
    for position, call in enumerate(plan):
        if _may_overlap(_identifiers(call), deleted | _deleted_records(plan[:position])):
            return False
        if any((call.tool, call.arguments) == (other.tool, other.arguments) for other in plan[:position]):
            return False
    return True


def _may_overlap(records: set[tuple[str, str]], others: set[tuple[str, str]]) -> bool:
    """Whether the two sets may share a record; a placeholder may stand for any."""
    return any(
        name == other_name and (value == other_value or "${" in value or "${" in other_value)
        for name, value in records
        for other_name, other_value in others
    )


def _deleted_records(plan: Sequence[PlannedCall]) -> set[tuple[str, str]]:
    return {pair for call in plan if destroys(call.tool) for pair in _identifiers(call)}


def _identifiers(call: PlannedCall) -> set[tuple[str, str]]:
    """(field, value) of the identifiers in a call's arguments."""
    return {(name, str(value)) for name, value in call.arguments.items() if is_identifier(name)}


def answer_of(draft: Draft, context: TaskWriterContext) -> str:
    """The draft as JSON, in the format of a real model."""
    subgoals = draft.subgoals
    told = dict.fromkeys(words(name) for call in draft.plan for name in call.tell)
    criteria = [f"The assistant gets this done: {subgoal}." for subgoal in subgoals]
    task = {
        "goal": _goal(subgoals, context.style, any(destroys(call.tool) for call in draft.plan)),
        "subgoals": subgoals,
        "plan": [call.model_dump() | {"arguments": call.arguments} for call in draft.plan],
        "criteria": criteria + ([f"The user is told: {', '.join(told)}."] if told else []),
        "checkpoints": [f"{call.tool} has succeeded" for call in draft.plan],
    }
    return json.dumps(task, ensure_ascii=False)


def _goal(subgoals: list[str], style: str, deletes: bool) -> str:
    first, further = ("Please", "Then") if style == "question" else ("The user wants to", "They also want to")
    goal = " ".join(f"{first if number == 0 else further} {subgoal}." for number, subgoal in enumerate(subgoals))
    if style == "question" and deletes:
        goal += " There is no need to ask me for confirmation."
    return goal


def join(parts: list[str]) -> str:
    """'a, b and c'."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def spoken(value: Any) -> str:
    """A value as a user would write it, each scalar verbatim: ["a", True] -> "a and yes", {"x": 1} -> "(x 1)"."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return join([spoken(part) for part in value]) if value else "none"
    if isinstance(value, dict):
        return "(" + ", ".join(f"{words(key)} {spoken(part)}" for key, part in value.items()) + ")"
    return str(value)
