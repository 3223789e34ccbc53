"""Start states that are odd but legal."""

from __future__ import annotations

from typing import Any

from core.dialogue import Dialogue, Rubric, Task
from core.messages import Message, SystemMessage, ToolSpec
from generation.pipeline import DomainTools

Domains = tuple[DomainTools, ...]


EXECUTED = "user_oriented_exec"


FIND = ToolSpec(name="find", description="Find.", parameters={"type": "object"})


SYSTEM = SystemMessage(content="Be kind.")


def task(number: int) -> Task:
    goal = f"Find {number}."
    return Task(
        task_id=f"old/t{number}", goal=goal, subgoals=(goal,), difficulty="easy", rubric=Rubric(criteria=(goal,))
    )


def dialogue(*messages: Message, tasks: int, starts: tuple[int, ...], **more: Any) -> Dialogue:
    fields = {"dialogue_id": "old", "pipeline": "user_oriented", "domain": "shop", "tools": (FIND,)} | more
    return Dialogue(messages=messages, tasks=tuple(map(task, range(tasks))), task_starts=starts, **fields)


LINE = {
    "id": "x",
    "domain": "gym",
    "tools": [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}],
    "tasks": ["Find it.", {"goal": "Find it.", "plan": [{"tool": "find", "arguments": {"id": 3}, "tell": ["x"]}]}],
    "messages": [
        {"role": "user", "content": "Find it."},
        {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "find", "arguments": '{"id": 3}'}}]},
        {"role": "tool", "tool_call_id": "c", "content": "[]"},
        {"role": "assistant", "content": "It is gone."},
    ],
}
