"""The stand-in's judge: checks the transcript against the rubric by rule, bullet by bullet, and sometimes errs, as
models do.

It sees what a judge's prompt contains, the task with its plan and the conversation, and nothing of the execution.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from core.dialogue import Blame, Bullet, PlannedCall, RubricClass
from core.messages import AssistantMessage, UserMessage
from core.placeholders import placeholder
from core.request_kinds import DECLINED, NOTHING_HAPPENS
from generation.llm.contexts import JudgeContext
from generation.scripted.judge_reads import mentions, same, ungrounded
from generation.scripted.results import PastToolCall, dig, past_tool_calls, rows
from generation.specs.json_values import leaves
from generation.specs.naming import changes
from generation.utterances.answers import declines

ERROR_RATE = 0.04
"""Chance of a wrong judgment."""

_MANNERS = re.compile(r"\b(polite|friendly|tone|concise|brief|courteous|short)", re.I)
_ADMITS_ERROR = re.compile(
    r"\b(sorry|could not|couldn't|cannot|can't|unable|not able|failed|error|refused|denied)\b", re.I
)
_NEXT_STEP = re.compile(r"\?|\b(instead|try|please|let me|later|contact|alternative)", re.I)
_ROWS_TO_TELL = 3
"""Rows of a result whose values the user must be told; further ones may be left out."""


@dataclass(frozen=True)
class Opinion:
    """The judge's opinion of a task; `objections` are those that no bullet covers."""

    bullets: tuple[Bullet, ...]
    objections: tuple[str, ...]
    blame: Blame

    @property
    def valid(self) -> bool:
        return not self.objections and all(b.passed or b.rubric_class != "Critical" for b in self.bullets)


def answer(context: JudgeContext, rng: Random, error_rate: float = ERROR_RATE) -> str:
    """{"bullets", "reasoning", "judgment", "blame"} as JSON; with probability `error_rate` the judgment is wrong."""
    opinion = Review(context).opinion()
    if rng.random() < error_rate:
        opinion = _wrong(opinion, rng)
    problems = [
        *(f"Critical: {b.bullet}" for b in opinion.bullets if b.rubric_class == "Critical" and not b.passed),
        *opinion.objections,
    ]
    praise = rng.choice(["Every critical bullet passes.", "All that matters was done and the user was answered."])
    bullets = [
        {"index": index, "rubric_class": bullet.rubric_class, "passed": bullet.passed}
        for index, bullet in enumerate(opinion.bullets, start=1)
    ]
    judgment = {
        **({"bullets": bullets} if bullets else {}),
        "reasoning": " ".join(problems) or praise,
        "judgment": "valid" if opinion.valid else "invalid",
        "blame": "none" if opinion.valid else opinion.blame,
    }
    return json.dumps(judgment, ensure_ascii=False)


def _wrong(opinion: Opinion, rng: Random) -> Opinion:
    """The opposite opinion: every fault is overlooked, or a critical bullet fails without cause."""
    if not opinion.valid:
        return Opinion(tuple(bullet.model_copy(update={"passed": True}) for bullet in opinion.bullets), (), "agent")
    critical = [i for i, bullet in enumerate(opinion.bullets) if bullet.rubric_class == "Critical"]
    if not critical:
        return replace(opinion, objections=("The request was not fulfilled.",))
    wrong = rng.choice(critical)
    bullets = (b.model_copy(update={"passed": b.passed and i != wrong}) for i, b in enumerate(opinion.bullets))
    return replace(opinion, bullets=tuple(bullets))


class Review:
    """The transcript of one task, its calls matched to the plan: `matched` maps a plan index to the call that fulfils
    it."""

    def __init__(self, context: JudgeContext) -> None:
        self.task = context.task
        # What the user did with their own tools is not in the transcript.
        self.plan = tuple(call for call in context.task.expected_plan if call.actor == "agent")
        answers = " ".join(context.task.told_values)
        self.known = f"{context.policy.shown if context.policy else ''} {answers}"
        self.transcript = context.transcript
        self.calls = past_tool_calls(context.transcript)
        self.matched: dict[int, PastToolCall] = {}
        for index, planned in enumerate(self.plan):
            fitting = [call for call in self.calls if call not in self.matched.values() and self._fits(planned, call)]
            if fitting:
                self.matched[index] = next((call for call in fitting if call.status == "done"), fitting[0])

    def opinion(self) -> Opinion:
        """All bullets in the rubric's order, objections beyond them, and who is to blame."""
        rubric = self.task.rubric
        bullets = [
            *(self._criterion(text) for text in rubric.criteria),
            *(self._expected_call(index, text) for index, text in enumerate(rubric.tool_pattern)),
            *(self._checkpoint(text) for text in rubric.checkpoints),
        ]
        return Opinion(tuple(bullets), tuple(self._objections()), self._blame())

    # The bullets, each with the rule for its class.

    def _criterion(self, text: str) -> Bullet:
        """Critical if it is about a subgoal or about values to tell, NonCritical if about manners; no rule decides
        others."""
        named = [i for i, goal in enumerate(self.task.subgoals) if goal.casefold() in text.casefold()]
        if named:
            needed = [i for i, call in enumerate(self.plan) if call.subgoal in named]
            return _bullet(text, "Critical", all(self._passes(i) or not self._is_mandatory(i) for i in needed))
        if re.search(r"\b(told|tells|informs|informed)\b", text, re.I):
            looked_up = all(self._passes(i) for i, call in enumerate(self.plan) if call.tell)
            return _bullet(text, "Critical", looked_up and not list(self._untold()))
        return _bullet(text, "NonCritical" if _MANNERS.search(text) else "InvalidRubric", True)

    def _expected_call(self, position: int, text: str) -> Bullet:
        plan = self.plan
        if len(plan) != len(self.task.rubric.tool_pattern) or not text.startswith(plan[position].tool):
            return _bullet(text, "InvalidRubric", True)
        return _bullet(text, "Critical" if self._is_mandatory(position) else "Structural", self._passes(position))

    def _checkpoint(self, text: str) -> Bullet:
        named = [call.tool for call in self.plan if re.search(rf"\b{re.escape(call.tool)}\b", text)]
        if not named:
            return _bullet(text, "InvalidRubric", True)
        succeeded = {call.name for call in self.calls if call.status == "done"}
        return _bullet(text, "Structural", all(tool in succeeded for tool in named))

    def _is_mandatory(self, index: int) -> bool:
        """Whether the call is irreplaceable: a change, or a result to tell. How an identifier is looked up is free."""
        return changes(self.plan[index].tool) or bool(self.plan[index].tell)

    def _passes(self, index: int) -> bool:
        call = self.matched.get(index)
        if call is None:
            return False
        if self.task.kind == "not_found":
            return call.status != "done"
        return call.status == "done" or (call.status == "error" and self._is_admitted(call))

    def _is_admitted(self, call: PastToolCall) -> bool:
        """Whether the assistant's next answer reports the error and offers a next step."""
        after = self.transcript[call.position + 1 :]
        text = next((m.content for m in after if isinstance(m, AssistantMessage) and not m.tool_calls), "")
        return bool(_ADMITS_ERROR.search(text) and _NEXT_STEP.search(text))

    # Matching of calls to the plan.

    def _fits(self, planned: PlannedCall, call: PastToolCall) -> bool:
        if call.name != planned.tool or call.arguments is None:
            return False
        if changes(planned.tool) and call.arguments.keys() - planned.arguments.keys():
            return False
        return all(
            name in call.arguments and self._equals(expected, call.arguments[name])
            for name, expected in planned.arguments.items()
        )

    def _equals(self, expected: Any, actual: Any) -> bool:
        """Whether an argument is the planned one. The source of a placeholder may precede the transcript, and then any
        value can be right; otherwise the value must be one that the source returned."""
        reference = placeholder(expected)
        if not reference:
            return same(expected, actual)
        sources = [self.matched[call] for call in reference.calls if call in self.matched]
        read = [leaf for source in sources for leaf in leaves(source.result)]
        returned = [value for name, value in read if reference.field in (None, name)]
        return not returned or any(same(value, actual) for value in returned)

    # Objections beyond the bullets.

    def _objections(self) -> Iterator[str]:
        if missing := [self.plan[i].tool for i in self._missing()]:
            yield f"Not done: {', '.join(dict.fromkeys(missing))}."
        if untold := list(self._untold()):
            yield f"Never told: {', '.join(untold)}."
        expected = list(self.matched.values())
        unrequested = [
            call.name
            for call in self.calls
            if call.status == "done" and call not in expected and changes(call.name) and not self._was_wished(call)
        ]
        if unrequested:
            yield f"Made a change that was not requested: {', '.join(unrequested)}."
        if invented := ungrounded(self.transcript, self.known):
            yield f"Stated without any source: {', '.join(invented)}."
        last = next((m for m in reversed(self.transcript) if not isinstance(m, UserMessage)), None)
        if not isinstance(last, AssistantMessage) or last.tool_calls:
            yield "The user was never answered."
        elif self.task.kind in DECLINED:
            if not any(declines(m.content) for m in self.transcript if isinstance(m, AssistantMessage)):
                yield "The assistant did not say that it cannot be done."
        elif not self.plan and self.task.kind not in NOTHING_HAPPENS and _ADMITS_ERROR.search(last.content):
            yield "The assistant says itself that it did not do it."

    def _was_wished(self, call: PastToolCall) -> bool:
        """Whether the user wanted this change before another one."""
        last = self.task.plan[-1] if self.task.plan else None
        return self.task.kind == "changed" and last is not None and call.name == last.tool

    def _missing(self) -> list[int]:
        return [i for i in range(len(self.plan)) if self._is_mandatory(i) and not self._passes(i)]

    def _untold(self) -> Iterator[str]:
        """Values to tell, from the first rows of each result, that no answer mentions. The value is the row's own
        field; a nested one counts only if the row lacks the field."""
        text = " ".join(m.content for m in self.transcript if isinstance(m, AssistantMessage))
        for index, call in self.matched.items():
            tell = self.plan[index].tell if call.status == "done" else ()
            for row in rows(call.result, tell)[:_ROWS_TO_TELL]:
                for name in tell:
                    value = dig(row, name)
                    if value not in (None, "") and not isinstance(value, dict | list) and not mentions(text, value):
                        yield f"{name} {value}"

    def _blame(self) -> Blame:
        """The tool if a planned call failed: a user who then leaves has a reason. Else the user if it never mentioned a
        value that a missing call needs, else the agent."""
        if any(call.status != "done" and not self._passes(index) for index, call in self.matched.items()):
            return "tool"
        text = " ".join(m.content for m in self.transcript if isinstance(m, UserMessage))
        missing = (self.plan[index] for index in self._missing())
        needed = [value for planned in missing for value in planned.arguments.values() if _is_mentionable(value)]
        withheld = any(mentions(self.task.goal, value) and not mentions(text, value) for value in needed)
        return "user" if withheld else "agent"


def _is_mentionable(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _bullet(text: str, rubric_class: RubricClass, passed: bool) -> Bullet:
    return Bullet(bullet=text, rubric_class=rubric_class, passed=passed)
