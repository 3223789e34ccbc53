"""Which tables and which kinds of change a database's tools leave out."""

from __future__ import annotations

from collections.abc import Sequence

import sqlglot
from sqlglot import exp

from generation.database.schema import DatabaseSchema
from generation.database.sql_tools import SqlTool

_CHANGES = (exp.Insert, exp.Update, exp.Delete)


def uncovered(schema: DatabaseSchema, tools: Sequence[SqlTool]) -> tuple[str, ...]:
    """What none of these verified tools does, each as a sentence; empty if they do everything."""
    read: set[str] = set()
    changed: set[str] = set()
    kinds: set[type[exp.Expression]] = set()
    for tool in tools:
        statement = sqlglot.parse_one(tool.sql, dialect="sqlite")
        names = {table.name.lower() for table in statement.find_all(exp.Table)}
        if isinstance(statement, _CHANGES):
            changed |= names
            kinds.add(type(statement))
        else:
            read |= names
    tables = [table.name for table in schema.tables]
    gaps = {
        "No tool reads": [name for name in tables if name.lower() not in read],
        "No tool changes": [t.name for t in schema.tables if not t.view and t.name.lower() not in changed],
        "No tool uses": [kind.__name__.upper() for kind in _CHANGES if kind not in kinds],
    }
    return tuple(f"{gap}: {', '.join(names)}." for gap, names in gaps.items() if names)
