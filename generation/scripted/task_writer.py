"""The stand-in's task writer: by the shapes of a database's tools, or by the names of any other tools."""

from __future__ import annotations

from random import Random

from generation.llm.contexts import TaskWriterContext
from generation.scripted import task_writer_tools
from generation.scripted.drafts import answer_of, compose
from generation.scripted.sql_shapes import shapes
from generation.scripted.task_kinds_sql import special_answer
from generation.scripted.task_writer_sql import SqlTaskWriter


def answer(context: TaskWriterContext, rng: Random) -> str:
    """One task as JSON, in the format of a real model."""
    if context.schema is None or not any(tool.name in shapes(context.schema) for tool in context.tools):
        return task_writer_tools.answer(context, rng)
    writer = SqlTaskWriter(context, rng)
    special = special_answer(context, rng, writer) if context.kind != "plain" else None
    return special or answer_of(compose(context, rng, writer.move), context)
