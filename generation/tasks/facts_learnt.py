"""What a user has learnt from a task, and what a follow-up makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.dialogue import PlannedCall, Task
from core.messages import AssistantMessage, Message, ToolMessage, ToolSpec
from core.typography import same_values
from generation.llm.contexts import TaskWriterContext
from generation.specs.json_values import json_or_text, leaves
from generation.specs.naming import alike
from generation.specs.spelling import snake


def usable(facts: dict[str, Any], tools: Sequence[ToolSpec]) -> bool:
    """Whether a follow-up can use one of the learnt values: some tool has a parameter of that name."""
    parameters = [tuple(snake(name).split("_")) for tool in tools for name in tool.parameters.get("properties") or {}]
    return any(
        value is not None
        and not isinstance(value, bool)
        and any(alike(tuple(snake(name).split("_")), p) for p in parameters)
        for name, value in facts.items()
    )


def known(context: TaskWriterContext) -> str:
    """What the user has said and learnt in the tasks before."""
    earlier = [text for task in context.previous for text in (task.goal, *task.told_values)]
    return "\n".join([*earlier, *map(str, context.facts.values())])


def uses(plan: Sequence[PlannedCall], context: TaskWriterContext) -> bool:
    """Whether an argument of the plan is a value that the user has learnt."""
    learnt = [value for value in context.facts.values() if not isinstance(value, bool)]
    arguments = [value for call in plan for _, value in leaves(call.arguments) if not isinstance(value, bool)]
    return any(same_values(value, fact) for value in arguments for fact in learnt)


def learnt_values(task: Task, messages: Sequence[Message]) -> dict[str, Any]:
    """The values that a task's messages taught the user: the `tell` fields of single-row results."""
    told = {call.tool: call.tell for call in task.plan if call.tell}
    names: dict[str, str] = {}
    facts: dict[str, Any] = {}
    for message in messages:
        if isinstance(message, AssistantMessage):
            names |= {call.id: call.name for call in message.tool_calls or ()}
        elif isinstance(message, ToolMessage) and names.get(message.tool_call_id) in told:
            value = json_or_text(message.content)
            row = value[0] if isinstance(value, list) and len(value) == 1 else value
            if isinstance(row, dict):
                facts |= {name: row[name] for name in told[names[message.tool_call_id]] if name in row}
    return facts
