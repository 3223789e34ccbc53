"""The stand-in's tool maker for databases: a balanced choice of the tools that the schema allows, as a model's JSON."""

from __future__ import annotations

import json
from random import Random

from generation.llm.contexts import SqlToolsContext
from generation.scripted.sql_shapes import Shape, shapes

# One of each kind in turn, the most important ones for a small toolset first.
_ORDER = ("search", "list", "update", "get", "create", "total", "top", "count", "delete", "all")


def answer(context: SqlToolsContext, rng: Random) -> str:
    """At most `limit` tools that go on from the existing ones: first one of each kind, for connected tables before
    isolated ones, then a second of each."""
    known = shapes(context.schema)
    existing = [known[tool.name] for tool in context.tools if tool.name in known]
    remaining: dict[str, list[Shape]] = {kind: [] for kind in _ORDER}
    for shape in known.values():
        if shape not in existing:
            remaining[shape.kind].append(shape)
    for kind in ("update", "total", "top", "count"):
        rng.shuffle(remaining[kind])
    chosen = [*existing]
    per_kind = {kind: sum(shape.kind == kind for shape in existing) for kind in _ORDER}
    while len(chosen) < len(existing) + context.limit and any(remaining.values()):
        kind = min((kind for kind in _ORDER if remaining[kind]), key=per_kind.__getitem__)
        chosen.append(_next(remaining[kind], chosen))
        per_kind[kind] += 1
    tools = [
        {"name": s.name, "description": s.description, "sql": s.sql, "parameters": s.parameters, "returns": s.returns}
        for s in chosen[len(existing) :]
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
