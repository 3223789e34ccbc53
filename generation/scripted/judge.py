"""The stand-in's judge: holds the transcript against the rubric by rule, bullet by bullet, and sometimes errs, as models do.

It knows what a judge's prompt shows and nothing of the execution: the task with its plan, and the conversation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from core.dialogue import Blame, Bullet, PlannedCall, RubricClass, placeholder
from core.messages import AssistantMessage, UserMessage
from generation.llm.contexts import JudgeContext
from generation.scripted.judge_reads import mentions, same, ungrounded
from generation.scripted.results import PastToolCall, calls_made, dig, rows
from generation.specs.json_values import leaves
from generation.specs.naming import changes

ERROR_RATE = 0.04

_MANNER = re.compile(r"\b(polite|friendly|tone|concise|brief|courteous|short)", re.I)
_OWNS_UP = re.compile(r"\b(sorry|could not|couldn't|cannot|can't|unable|not able|failed|error|refused|denied)\b", re.I)
_NEXT_STEP = re.compile(r"\?|\b(instead|try|please|let me|later|contact|alternative)", re.I)
_TOLD_ROWS = 3


@dataclass(frozen=True)
class Opinion:
    """What the judge makes of a task; `grounds` against it beside the bullets."""

    bullets: tuple[Bullet, ...]
    grounds: tuple[str, ...]
    blame: Blame

    @property
    def valid(self) -> bool:
        return not self.grounds and all(b.passed or b.rubric_class != "Critical" for b in self.bullets)


def answer(context: JudgeContext, rng: Random, error_rate: float = ERROR_RATE) -> str:
    """{"bullets", "judgment", "reasoning", "blame"}; with a chance of `error_rate` the judgment is the wrong one."""
    opinion = Reading(context).opinion()
    if rng.random() < error_rate:
        opinion = _misread(opinion, rng)
    against = [
        *(f"Critical: {b.bullet}" for b in opinion.bullets if b.rubric_class == "Critical" and not b.passed),
        *opinion.grounds,
    ]
    fine = rng.choice(["Every critical bullet passes.", "All that matters was done and the user was answered."])
    said = {
        "bullets": [bullet.model_dump() for bullet in opinion.bullets],
        "judgment": "valid" if opinion.valid else "invalid",
        "reasoning": " ".join(against) or fine,
        "blame": None if opinion.valid else opinion.blame,
    }
    return json.dumps(said, ensure_ascii=False)


def _misread(opinion: Opinion, rng: Random) -> Opinion:
    """The opposite: everything is overlooked, or something is missed that was there."""
    if not opinion.valid:
        return Opinion(tuple(bullet.model_copy(update={"passed": True}) for bullet in opinion.bullets), (), "agent")
    critical = [i for i, bullet in enumerate(opinion.bullets) if bullet.rubric_class == "Critical"]
    if not critical:
        return replace(opinion, grounds=("The request was not fulfilled.",))
    wrong = rng.choice(critical)
    bullets = (b.model_copy(update={"passed": b.passed and i != wrong}) for i, b in enumerate(opinion.bullets))
    return replace(opinion, bullets=tuple(bullets))


class Reading:
    """The transcript of one task, its calls matched to the plan: `found` maps a plan index to the call that serves it."""

    def __init__(self, context: JudgeContext) -> None:
        self.task = context.task
        self.transcript = context.transcript
        self.made = calls_made(context.transcript)
        self.found: dict[int, PastToolCall] = {}
        for index, planned in enumerate(self.task.plan):
            fitting = [made for made in self.made if made not in self.found.values() and self._fits(planned, made)]
            if fitting:
                self.found[index] = next((made for made in fitting if made.status == "done"), fitting[0])

    def opinion(self) -> Opinion:
        """All bullets in the rubric's order, and what else speaks against the dialogue."""
        rubric = self.task.rubric
        bullets = [
            *(self._criterion(text) for text in rubric.criteria),
            *(self._expected(index, text) for index, text in enumerate(rubric.tool_pattern)),
            *(self._checkpoint(text) for text in rubric.checkpoints),
        ]
        return Opinion(tuple(bullets), tuple(self._grounds()), self._blame())

    # The bullets, each with the rule that classes it.

    def _criterion(self, text: str) -> Bullet:
        """A part of the task, or what is to be told, is Critical; manners are not; nothing else can be decided by rule."""
        served = [i for i, goal in enumerate(self.task.subgoals) if goal.casefold() in text.casefold()]
        if served:
            needed = [i for i, call in enumerate(self.task.plan) if call.subgoal in served]
            return _bullet(text, "Critical", all(self._passes(i) or not self._mandated(i) for i in needed))
        if re.search(r"\b(told|tells|informs|informed)\b", text, re.I):
            looked_up = all(self._passes(i) for i, call in enumerate(self.task.plan) if call.tell)
            return _bullet(text, "Critical", looked_up and not list(self._untold()))
        return _bullet(text, "NonCritical" if _MANNER.search(text) else "InvalidRubric", True)

    def _expected(self, position: int, text: str) -> Bullet:
        plan = self.task.plan
        if len(plan) != len(self.task.rubric.tool_pattern) or not text.startswith(plan[position].tool):
            return _bullet(text, "InvalidRubric", True)
        return _bullet(text, "Critical" if self._mandated(position) else "Structural", self._passes(position))

    def _checkpoint(self, text: str) -> Bullet:
        named = [call.tool for call in self.task.plan if re.search(rf"\b{re.escape(call.tool)}\b", text)]
        if not named:
            return _bullet(text, "InvalidRubric", True)
        succeeded = {made.name for made in self.made if made.status == "done"}
        return _bullet(text, "Structural", all(tool in succeeded for tool in named))

    def _mandated(self, index: int) -> bool:
        """Whether nothing else does: a change, or a result to be told. How an identifier is looked up is free."""
        return changes(self.task.plan[index].tool) or bool(self.task.plan[index].tell)

    def _passes(self, index: int) -> bool:
        made = self.found.get(index)
        return made is not None and (made.status == "done" or (made.status == "error" and self._owned_up(made)))

    def _owned_up(self, made: PastToolCall) -> bool:
        """Whether the next words of the assistant report the error and offer a next step."""
        after = self.transcript[made.position + 1 :]
        words = next((m.content for m in after if isinstance(m, AssistantMessage) and not m.tool_calls), "")
        return bool(_OWNS_UP.search(words) and _NEXT_STEP.search(words))

    # Matching of calls to the plan.

    def _fits(self, planned: PlannedCall, made: PastToolCall) -> bool:
        if made.name != planned.tool or made.arguments is None:
            return False
        if changes(planned.tool) and made.arguments.keys() - planned.arguments.keys():
            return False
        return all(
            name in made.arguments and self._equals(wanted, made.arguments[name])
            for name, wanted in planned.arguments.items()
        )

    def _equals(self, wanted: Any, given: Any) -> bool:
        """Whether an argument is the planned one. A placeholder's call may have been made before the transcript begins, so
        that any value can be right; where it is there, the value must be one that it returned."""
        reference = placeholder(wanted)
        if not reference:
            return same(wanted, given)
        source = self.found.get(reference[0])
        returned = [value for name, value in leaves(source.value) if reference[1] in (None, name)] if source else []
        return not returned or any(same(value, given) for value in returned)

    # What speaks against the dialogue beside its bullets.

    def _grounds(self) -> Iterator[str]:
        if missing := [self.task.plan[i].tool for i in self._lacking()]:
            yield f"Not done: {', '.join(dict.fromkeys(missing))}."
        if untold := list(self._untold()):
            yield f"Never told: {', '.join(untold)}."
        served = list(self.found.values())
        unasked = [
            made.name for made in self.made if made.status == "done" and made not in served and changes(made.name)
        ]
        if unasked:
            yield f"Changed what nobody asked for: {', '.join(unasked)}."
        if invented := ungrounded(self.transcript):
            yield f"Stated without any source: {', '.join(invented)}."
        last = next((m for m in reversed(self.transcript) if not isinstance(m, UserMessage)), None)
        if not isinstance(last, AssistantMessage) or last.tool_calls:
            yield "The user was never answered."

    def _lacking(self) -> list[int]:
        return [i for i in range(len(self.task.plan)) if self._mandated(i) and not self._passes(i)]

    def _untold(self) -> Iterator[str]:
        """Values of the first rows that a call was made for and that no answer mentions. What is to be told is a row's own
        field; that of a part of it only where it has none."""
        words = " ".join(m.content for m in self.transcript if isinstance(m, AssistantMessage))
        for index, made in self.found.items():
            tell = self.task.plan[index].tell if made.status == "done" else ()
            for row in rows(made.value, tell)[:_TOLD_ROWS]:
                for name in tell:
                    value = dig(row, name)
                    if value not in (None, "") and not isinstance(value, dict | list) and not mentions(words, value):
                        yield f"{name} {value}"

    def _blame(self) -> Blame:
        """The tools where a planned call was made and failed: a user who then leaves has its reason. Else the user if it never
        said what a missing call needs, else the agent."""
        if any(made.status != "done" and not self._passes(index) for index, made in self.found.items()):
            return "tool"
        said = " ".join(m.content for m in self.transcript if isinstance(m, UserMessage))
        missing = (self.task.plan[index] for index in self._lacking())
        needed = [value for planned in missing for value in planned.arguments.values() if _sayable(value)]
        unsaid = any(mentions(self.task.goal, value) and not mentions(said, value) for value in needed)
        return "user" if unsaid else "agent"


def _sayable(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _bullet(text: str, rubric_class: RubricClass, passed: bool) -> Bullet:
    return Bullet(bullet=text, rubric_class=rubric_class, passed=passed)
