"""A task as its writer drafts it: the form of the answer, and the checks before anything is played."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import ConfigDict, Field

from core.dialogue import Difficulty, PlannedCall, Rubric, Task
from core.messages import Frozen, ToolSpec
from core.request_kinds import RequestKind
from generation.llm.base import RejectedAnswerError
from generation.specs.naming import changes, entity_words
from generation.specs.resolved_schema import field_names, resolved
from generation.specs.structured import object_schema, structured
from generation.tasks.grounding import grounding_problems
from generation.tasks.plan_form import form_problems

_SHOWN = 5
"""Problems that a complaint lists at most."""

WITHHOLDING: frozenset[RequestKind] = frozenset({"incomplete", "ambiguous", "withdrawn"})
"""Requests of which the user keeps a part back."""

_MOST = 10
"""Subgoals, criteria and checkpoints of a draft at most, half as many as calls: without a limit, a small model goes
on until its budget ends."""


class DraftError(RejectedAnswerError):
    """The draft is not a task: its plan does not fit the tools, or its goal does not say what the plan needs."""


class TaskDraft(Frozen):
    """The task writer's answer, in the order of thinking. Further fields of the answer are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    goal: str = Field(min_length=1)
    subgoals: tuple[str, ...] = Field(min_length=1)
    plan: tuple[PlannedCall, ...] = ()
    withheld: tuple[str, ...] = ()
    first_wish: str = ""
    first_arguments: dict[str, Any] = Field(default_factory=dict)
    rule_id: str | None = None
    criteria: tuple[str, ...] = Field(min_length=1)
    checkpoints: tuple[str, ...] = ()

    def task(
        self,
        task_id: str,
        difficulty: Difficulty,
        follows_from: str | None,
        kind: RequestKind = "plain",
        tools: Sequence[ToolSpec] = (),
    ) -> Task:
        """The draft as a task that has not been proved. `tools` are those of which some may be kept back."""
        task = Task(
            task_id=task_id,
            goal=self.goal,
            subgoals=self.subgoals,
            difficulty=difficulty,
            rubric=Rubric(criteria=self.criteria, checkpoints=self.checkpoints),
            plan=self.plan,
            follows_from=follows_from,
            kind=kind,
            withheld=self.withheld if kind in WITHHOLDING else (),
            first_wish=self.first_wish if kind == "changed" else "",
            first_arguments=self.first_arguments if kind == "changed" else {},
            late_tools=self._kept_back(tools) if kind in ("late_tool", "no_tool") else (),
            rule_id=self.rule_id if kind == "forbidden" else None,
        )
        pattern = tuple(
            f"{call.tool}({', '.join(f'{name}={value}' for name, value in call.arguments.items())})"
            for call in task.expected_plan
        )
        return task.model_copy(update={"rubric": task.rubric.model_copy(update={"tool_pattern": pattern})})

    def _kept_back(self, tools: Sequence[ToolSpec]) -> tuple[str, ...]:
        """The tools with which the plan changes something, and those that change the same kind of record."""
        entities = {entity_words(call.tool) for call in self.plan if changes(call.tool)}
        return tuple(tool.name for tool in tools if changes(tool.name) and entity_words(tool.name) in entities)


_KIND_FIELDS: dict[RequestKind, tuple[str, ...]] = {
    "incomplete": ("withheld",),
    "ambiguous": ("withheld",),
    "withdrawn": ("withheld",),
    "changed": ("first_wish", "first_arguments"),
    "forbidden": ("rule_id",),
}
"""Fields of a draft besides those that all have."""


def answer_schema(
    tools: Sequence[ToolSpec], kind: RequestKind = "plain", rule_ids: Sequence[str] = ()
) -> dict[str, Any]:
    """The JSON Schema of a draft for these tools, for structured output: each call names one of the tools, gives that
    tool's arguments, as values or placeholders, and tells fields of its result."""
    sentences = {"type": "array", "items": {"type": "string"}, "maxItems": _MOST}
    reference = _placeholder_schema(tools)
    calls = [_call_schema(tool, reference) for tool in tools]
    special = {
        "withheld": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2},
        "first_wish": {"type": "string"},
        "first_arguments": {"type": "object"},
        "rule_id": {"type": "string", "enum": list(rule_ids)},
    }
    properties = {
        "goal": {"type": "string"},
        "subgoals": sentences | {"minItems": 1},
        "plan": {"type": "array", "items": {"anyOf": calls}, "minItems": 1, "maxItems": 2 * _MOST},
        **{name: special[name] for name in _KIND_FIELDS.get(kind, ())},
        "criteria": sentences | {"minItems": 1},
        "checkpoints": sentences,
    }
    if kind == "irrelevant":
        del properties["plan"]
    return object_schema(properties)


def _placeholder_schema(tools: Sequence[ToolSpec]) -> dict[str, Any]:
    """A placeholder, with a field that some tool returns; with any field if a tool does not say what it returns."""
    known = {name for tool in tools if tool.returns for name in field_names(tool.returns)}
    names = "|".join(map(re.escape, sorted(known))) if all(tool.returns for tool in tools) else ""
    name = names or "[A-Za-z0-9_.]+"
    chosen = rf"((lowest|highest) ({name})|where ({name}) is [^{{}}:\n]+|sum|average|count)"
    return {"type": "string", "pattern": rf"^\$\{{([0-9]+(\.({name}))?|{chosen} of [0-9]+(,[0-9]+)*(: ({name}))?)\}}$"}


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
            "tell": {
                "type": "array",
                "items": {"anyOf": [{"type": "string", **({"enum": told} if told else {})}, reference]},
            },
        }
    )


def check_draft(task: Task, tools: Sequence[ToolSpec], known: str) -> None:
    """Raises DraftError with the problems of a drafted task. `known` is what the user has read and said before it."""
    by_name = {tool.name: tool for tool in tools}
    problems = [
        *([] if task.plan or task.kind == "irrelevant" else ["the plan is empty"]),
        *form_problems(task.plan, by_name, len(task.subgoals)),
        *grounding_problems(task, by_name, known),
    ]
    if problems:
        raise DraftError("; ".join(dict.fromkeys(problems[:_SHOWN])))
