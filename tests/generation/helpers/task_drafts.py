"""Drafts of the stand-in task writers."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from core.dialogue import PlannedCall, Rubric, Task
from core.messages import ToolSpec
from generation.llm.contexts import TaskWriterContext
from generation.scripted import task_writer
from tests.generation.helpers.pipeline_runs import SCENE

LEVELS = ("easy", "medium", "hard")


Rows = dict[str, list[dict[str, Any]]]


def asking(tools: tuple[ToolSpec, ...], difficulty: str, **more: Any) -> TaskWriterContext:
    values: dict[str, Any] = {"style": "descriptive", "schema": None, "view": {}, "previous": (), "facts": {}}
    return TaskWriterContext(
        scene=SCENE,
        tools=tools,
        difficulty=difficulty,
        **(values | {"want_follow_up": bool(more.get("facts"))} | more),
    )


def draft_of(context: TaskWriterContext, seed: object) -> dict[str, Any]:
    return dict(json.loads(task_writer.answer(context, Random(str(seed)))))


def previous(tool: str, *tell: str) -> tuple[Task, ...]:
    call = PlannedCall(tool=tool, arguments={}, tell=tell)
    rubric = Rubric(criteria=())
    return (Task(task_id="t", goal="g", subgoals=("g",), difficulty="easy", rubric=rubric, plan=(call,)),)
