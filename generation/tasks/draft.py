"""A task as its writer drafts it: the form of the answer, and the checks before anything is played."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ConfigDict, Field

from core.dialogue import Difficulty, PlannedCall, Rubric, Task
from core.messages import Frozen, ToolSpec
from generation.llm.base import RejectedAnswerError
from generation.tasks.grounding import grounding_problems
from generation.tasks.plan_form import form_problems

_SHOWN = 5
"""Problems that a complaint lists at most."""


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
    """The JSON Schema of a draft for these tools, for guided decoding: every field is required, and a call names one
    of the tools."""
    schema = TaskDraft.model_json_schema()
    call = schema["$defs"]["PlannedCall"]
    call["properties"]["tool"] = {"type": "string", "enum": [tool.name for tool in tools]}
    call["properties"]["subgoal"] = {"type": "integer", "minimum": 0}
    for part in (schema, call):
        part |= {"required": list(part["properties"]), "additionalProperties": False}
    return schema


def check_draft(task: Task, tools: Sequence[ToolSpec], known: str) -> None:
    """Raises DraftError with the problems of a drafted task. `known` is what the user has read and said before it."""
    by_name = {tool.name: tool for tool in tools}
    problems = [
        *form_problems(task.plan, by_name, len(task.subgoals)),
        *grounding_problems(task, by_name, known),
    ]
    if problems:
        raise DraftError("; ".join(dict.fromkeys(problems[:_SHOWN])))
