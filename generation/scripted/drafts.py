"""What the stand-in's two task writers share: a draft that grows move by move until it is as hard as was asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from core.dialogue import PlannedCall
from generation.llm.contexts import TaskWriterContext
from generation.scripted.verbs import destroys
from generation.specs.naming import changes, is_identifier
from generation.specs.spelling import words
from generation.tasks.difficulty import BANDS, effort

_TRIES = 120


@dataclass
class Draft:
    """A task in the making. `known` is what its calls have brought up so far and later ones can use: a writer's own key -> the
    number of the call; `said` the literal values it has named: field -> value; `follows` whether it uses a fact of an
    earlier task."""

    subgoals: list[str] = field(default_factory=list)
    plan: list[PlannedCall] = field(default_factory=list)
    known: dict[tuple[str, str], int] = field(default_factory=dict)
    said: dict[str, Any] = field(default_factory=dict)
    follows: bool = False

    def call(self, tool: str, arguments: dict[str, Any], tell: list[str] | None = None) -> int:
        """Plan a call for the subgoal that comes next; its number."""
        self.plan.append(
            PlannedCall(tool=tool, arguments=arguments, subgoal=len(self.subgoals), tell=tuple(tell or ()))
        )
        return len(self.plan) - 1

    def copy(self) -> Draft:
        return replace(
            self,
            subgoals=list(self.subgoals),
            plan=list(self.plan),
            known=dict(self.known),
            said=dict(self.said),
        )

    @property
    def score(self) -> int:
        return effort(self.plan, [changes(call.tool) for call in self.plan]).score


Move = Callable[[Draft], str | None]
"""Adds its calls to the draft and gives the phrase of its subgoal; None where it does not apply."""


def compose(context: TaskWriterContext, rng: Random, move: Move) -> Draft:
    """Moves, one after the other, until the difficulty asked for is reached and never beyond it. A follow-up begins with what
    was learnt, as long as there is a move that can use it."""
    low, high = next(band for name, band in BANDS.items() if name == context.difficulty)
    goal = rng.randint(low, high or low + 3)
    gone = {pair for task in context.previous for pair in _taken_away(task.plan) if not pair[1].startswith("${")}
    draft = Draft()
    for attempt in range(_TRIES):
        if draft.score >= goal:
            break
        trial = draft.copy()
        text = move(trial)
        if (
            text is None
            or _clashes(text, draft.subgoals)
            or not _sound(trial.plan, gone)
            or (high and trial.score > high)
        ):
            continue
        if context.want_follow_up and not trial.follows and attempt < _TRIES // 2:
            continue
        trial.subgoals.append(text)
        draft = trial
    return draft


def _clashes(text: str, others: list[str]) -> bool:
    """Two subgoals that differ only in the new value would contradict each other; one that contains another could not be asked
    for alone."""
    return any(
        text.rsplit(" to ", 1)[0] == other.rsplit(" to ", 1)[0] or text in other or other in text for other in others
    )


def _sound(plan: Sequence[PlannedCall], gone: set[tuple[str, str]]) -> bool:
    """Whether no call is made twice and none is about a record that is gone, or that an earlier call takes away."""
    for place, call in enumerate(plan):
        if _same(_about(call), gone | _taken_away(plan[:place])):
            return False
        if any((call.tool, call.arguments) == (other.tool, other.arguments) for other in plan[:place]):
            return False
    return True


def _same(some: set[tuple[str, str]], others: set[tuple[str, str]]) -> bool:
    """Whether a record of the one may be one of the other: what an earlier result will name could be any."""
    return any(
        name == other and (value == theirs or "${" in value or "${" in theirs)
        for name, value in some
        for other, theirs in others
    )


def _taken_away(plan: Sequence[PlannedCall]) -> set[tuple[str, str]]:
    return {pair for call in plan if destroys(call.tool) for pair in _about(call)}


def _about(call: PlannedCall) -> set[tuple[str, str]]:
    """(field, value) of the identifiers in a call's arguments."""
    return {(name, str(value)) for name, value in call.arguments.items() if is_identifier(name)}


def answer_of(draft: Draft, context: TaskWriterContext) -> str:
    """The draft as the JSON a real model gives."""
    parts = draft.subgoals
    told = dict.fromkeys(words(name) for call in draft.plan for name in call.tell)
    criteria = [f"The assistant gets this done: {part}." for part in parts]
    task = {
        "goal": _goal(parts, context.style, any(destroys(call.tool) for call in draft.plan)),
        "subgoals": parts,
        "difficulty": context.difficulty,
        "plan": [call.model_dump() | {"arguments": call.arguments} for call in draft.plan],
        "criteria": criteria + ([f"The user is told: {', '.join(told)}."] if told else []),
        "checkpoints": [f"{call.tool} has succeeded" for call in draft.plan],
    }
    return json.dumps(task, ensure_ascii=False)


def _goal(parts: list[str], style: str, destroying: bool) -> str:
    first, further = ("Please", "Then") if style == "question" else ("The user wants to", "They also want to")
    goal = " ".join(f"{first if number == 0 else further} {part}." for number, part in enumerate(parts))
    if style == "question" and destroying:
        goal += " There is no need to ask me for confirmation."
    return goal


def join(parts: list[str]) -> str:
    """'a, b and c'."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
