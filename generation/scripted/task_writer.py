"""The stand-in's task writer: by the shapes of a database's tools, or by the names of any other tools."""

from __future__ import annotations

from random import Random

from generation.llm.contexts import TaskWriterContext
from generation.scripted import task_writer_tools
from generation.scripted.drafts import Draft, answer_of, compose
from generation.scripted.sql_shapes import shapes
from generation.scripted.task_kinds_sql import special_answer
from generation.scripted.task_writer_sql import SqlTaskWriter

_IRRELEVANT = (
    "write a limerick about the sea",
    "convert 30 miles to kilometres",
    "get a recipe for lentil soup",
    "know who won the World Cup in 1998",
    "translate the word butterfly into French",
    "know what the weather is like in Lisbon",
    "hear a joke about penguins",
    "plan a weekend trip to the mountains",
    "fix a bug in a spreadsheet formula",
    "know the boiling point of mercury",
    "get advice on choosing a laptop",
    "book a taxi to the airport",
)


def answer(context: TaskWriterContext, rng: Random) -> str:
    """One task as JSON, in the format of a real model. Where it finds no request of the kind, the same empty plan each
    time, so that it is not asked again and again."""
    if context.kind == "irrelevant":
        return answer_of(Draft(subgoals=[rng.choice(_IRRELEVANT)]), context)
    by_shape = context.schema is not None and any(tool.name in shapes(context.schema) for tool in context.tools)
    if context.kind != "plain":
        special = special_answer(context, rng, SqlTaskWriter(context, rng)) if by_shape else None
        return special or answer_of(Draft(subgoals=["do something else"]), context)
    if not by_shape:
        return task_writer_tools.answer(context, rng)
    return answer_of(compose(context, rng, SqlTaskWriter(context, rng).move), context)
