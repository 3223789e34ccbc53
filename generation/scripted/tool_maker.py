"""The stand-in's tool maker for databases: a balanced choice of the tools that the schema allows, as a model's JSON."""

from __future__ import annotations

import json
from random import Random

from generation.llm.contexts import SqlToolsContext
from generation.scripted.sql_shapes import Shape, shapes

# One of each kind in turn, the most important ones for a small toolset first.
_ORDER = ("search", "list", "update", "get", "create", "total", "top", "count", "delete")


def answer(context: SqlToolsContext, rng: Random) -> str:
    """At most `max_tools` tools: first one of each kind, for connected tables before isolated ones, then a second of
    each."""
    remaining: dict[str, list[Shape]] = {kind: [] for kind in _ORDER}
    for shape in shapes(context.schema).values():
        remaining[shape.kind].append(shape)
    for kind in ("update", "total", "top", "count"):
        rng.shuffle(remaining[kind])
    chosen: list[Shape] = []
    while len(chosen) < context.max_tools and any(remaining.values()):
        for kind in _ORDER:
            if remaining[kind] and len(chosen) < context.max_tools:
                chosen.append(_next(remaining[kind], chosen))
    tools = [
        {"name": s.name, "description": s.description, "parameters": s.parameters, "returns": s.returns, "sql": s.sql}
        for s in chosen
    ]
    return json.dumps(tools, ensure_ascii=False)


def _next(candidates: list[Shape], chosen: list[Shape]) -> Shape:
    """The next tool, preferably about a table that the chosen ones already reach, so that calls can chain."""
    reached = {s.table.name for s in chosen}
    for position, shape in enumerate(candidates):
        table = shape.parent.name if shape.parent else shape.table.name
        if not reached or table in reached:
            return candidates.pop(position)
    return candidates.pop(0)
