"""A task as its writer drafts it: the form of the answer, and the checks before anything is played."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import ConfigDict, Field

from core.dialogue import Difficulty, PlannedCall, Rubric, Task
from core.messages import Frozen, ToolSpec
from generation.llm.base import RejectedAnswerError
from generation.specs.resolved_schema import field_names, resolved
from generation.specs.structured import object_schema, structured
from generation.tasks.grounding import grounding_problems
from generation.tasks.plan_form import form_problems

_SHOWN = 5
"""Problems that a complaint lists at most."""

_MOST = 10
"""Subgoals, criteria and checkpoints of a draft at most, half as many as calls: without a limit, a small model goes
on until its budget ends."""


class DraftError(RejectedAnswerError):
    """The draft is no task: its plan does not fit the tools, or its goal does not say what the plan needs."""


class TaskDraft(Frozen):
    """The task writer's answer, in the order of thinking. Further fields of the answer are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    goal: str = Field(min_length=1)
    subgoals: tuple[str, ...] = Field(min_length=1)
    plan: tuple[PlannedCall, ...] = Field(min_length=1)
    criteria: tuple[str, ...] = Field(min_length=1)
    checkpoints: tuple[str, ...] = ()

    def task(self, task_id: str, difficulty: Difficulty, follows_from: str | None) -> Task:
        """The draft as a task that has not been proved."""
        pattern = tuple(
            f"{call.tool}({', '.join(f'{name}={value}' for name, value in call.arguments.items())})"
            for call in self.plan
        )
        return Task(
            task_id=task_id,
            goal=self.goal,
            subgoals=self.subgoals,
            difficulty=difficulty,
            rubric=Rubric(criteria=self.criteria, tool_pattern=pattern, checkpoints=self.checkpoints),
            plan=self.plan,
            follows_from=follows_from,
        )


def answer_schema(tools: Sequence[ToolSpec]) -> dict[str, Any]:
    """The JSON Schema of a draft for these tools, for structured output: each call names one of the tools, gives that
    tool's arguments, as values or placeholders, and tells fields of its result."""
    sentences = {"type": "array", "items": {"type": "string"}, "maxItems": _MOST}
    reference = _placeholder_schema(tools)
    calls = [_call_schema(tool, reference) for tool in tools]
    properties = {
        "goal": {"type": "string"},
        "subgoals": sentences | {"minItems": 1},
        "plan": {"type": "array", "items": {"anyOf": calls}, "minItems": 1, "maxItems": 2 * _MOST},
        "criteria": sentences | {"minItems": 1},
        "checkpoints": sentences,
    }
    return object_schema(properties)


def _placeholder_schema(tools: Sequence[ToolSpec]) -> dict[str, Any]:
    """A placeholder, with a field that some tool returns; with any field if a tool does not say what it returns."""
    known = {name for tool in tools if tool.returns for name in field_names(tool.returns)}
    names = "|".join(map(re.escape, sorted(known))) if all(tool.returns for tool in tools) else ""
    return {"type": "string", "pattern": rf"^\$\{{[0-9]+(\.({names or '[A-Za-z0-9_.]+'}))?\}}$"}


def _call_schema(tool: ToolSpec, reference: dict[str, Any]) -> dict[str, Any]:
    parameters = tool.parameters
    declared: dict[str, Any] = parameters.get("properties") or {}
    values = {name: {"anyOf": [structured(resolved(part, parameters)), reference]} for name, part in declared.items()}
    arguments: dict[str, Any] = {"type": "object"}
    if declared or parameters.get("additionalProperties") is False:
        required = [name for name in parameters.get("required") or () if name in declared]
        arguments |= {"properties": values, "required": required, "additionalProperties": False}
    told = list(field_names(tool.returns)) if tool.returns else []
    return object_schema(
        {
            "tool": {"type": "string", "enum": [tool.name]},
            "arguments": arguments,
            "subgoal": {"type": "integer", "minimum": 0},
            "tell": {"type": "array", "items": {"type": "string", **({"enum": told} if told else {})}},
        }
    )


def check_draft(task: Task, tools: Sequence[ToolSpec], known: str) -> None:
    """Raises DraftError with the problems of a drafted task. `known` is what the user has read and said before it."""
    by_name = {tool.name: tool for tool in tools}
    problems = [
        *form_problems(task.plan, by_name, len(task.subgoals)),
        *grounding_problems(task, by_name, known),
    ]
    if problems:
        raise DraftError("; ".join(dict.fromkeys(problems[:_SHOWN])))
