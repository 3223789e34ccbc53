"""The stand-in's tool maker for databases: a balanced choice of the tools that the schema allows, as a model's JSON."""

from __future__ import annotations

import json
from collections import Counter
from random import Random

from generation.llm.contexts import SqlToolsContext
from generation.scripted.sql_shapes import Shape, shapes

# One of each kind in turn, the most important ones for a small toolset first.
_ORDER = ("search", "list", "update", "get", "create", "total", "top", "count", "delete", "all")


# Ways to read and to change a table, the best one first.
_READING = ("search", "get", "list")
_CHANGING = ("update", "create", "delete")


def answer(context: SqlToolsContext, rng: Random) -> str:
    """At most `limit` tools that go on from the existing ones: first one of each kind, for connected tables before
    isolated ones; then one that reads and one that changes each table; then further ones of each kind, for the tables
    with the fewest tools."""
    known = shapes(context.schema)
    existing = [known[tool.name] for tool in context.tools if tool.name in known]
    remaining: dict[str, list[Shape]] = {kind: [] for kind in _ORDER}
    for shape in known.values():
        if shape not in existing:
            remaining[shape.kind].append(shape)
    for kind in ("update", "total", "top", "count"):
        rng.shuffle(remaining[kind])
    chosen = [*existing]
    while len(chosen) < len(existing) + context.limit and any(remaining.values()):
        shape = (
            _of_missing_kind(remaining, chosen) or _of_missing_table(remaining, chosen) or _further(remaining, chosen)
        )
        remaining[shape.kind].remove(shape)
        chosen.append(shape)
    tools = [
        {"name": s.name, "description": s.description, "sql": s.sql, "parameters": s.parameters, "returns": s.returns}
        for s in chosen[len(existing) :]
    ]
    return json.dumps(tools, ensure_ascii=False)


def _of_missing_kind(remaining: dict[str, list[Shape]], chosen: list[Shape]) -> Shape | None:
    """A tool of the first kind that is missing, preferably about a table that the chosen ones already reach, so that
    calls can chain."""
    kinds, reached = {shape.kind for shape in chosen}, {shape.table.name for shape in chosen}
    candidates = next((remaining[kind] for kind in _ORDER if kind not in kinds and remaining[kind]), [])
    for shape in candidates:
        table = shape.parent.name if shape.parent else shape.table.name
        if not reached or table in reached:
            return shape
    return candidates[0] if candidates else None


def _of_missing_table(remaining: dict[str, list[Shape]], chosen: list[Shape]) -> Shape | None:
    """A tool that reads a table which none reads yet; if there is none, one that changes such a table."""
    for kinds in (_READING, _CHANGING):
        covered = {shape.table.name for shape in chosen if shape.kind in kinds}
        for kind in kinds:
            for shape in remaining[kind]:
                if shape.table.name not in covered:
                    return shape
    return None


def _further(remaining: dict[str, list[Shape]], chosen: list[Shape]) -> Shape:
    """A tool of the kind with the fewest tools, for the table with the fewest."""
    kinds, tables = Counter[str](shape.kind for shape in chosen), Counter(shape.table.name for shape in chosen)
    kind = min((kind for kind in _ORDER if remaining[kind]), key=lambda kind: kinds[kind])
    return min(remaining[kind], key=lambda shape: tables[shape.table.name])
