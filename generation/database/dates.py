"""The day up to which a database's records reach: dialogues about them take place soon after it."""

from __future__ import annotations

from contextlib import closing
from datetime import date

import apsw

from generation.database.image import Image
from generation.database.tables import quoted, select

_DAY = "[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]*"


def recent_day(image: Image) -> str:
    """A day in ISO form, or "" if no column has dates.

    Of every column with ISO dates it is the day that nine in ten of them reach at most, and of these days the middle
    one, the later of two: neither birthdays nor the ends of warranties decide.
    """
    with closing(apsw.Connection(":memory:")) as memory:
        memory.deserialize("main", image.content)
        columns = [(table.name, column) for table in image.tables.values() for column in table.columns]
        days = sorted(day for table, column in columns if (day := _late_day(memory, table, column)))
    return days[len(days) // 2] if days else ""


def _late_day(memory: apsw.Connection, table: str, column: str) -> str:
    name, source = quoted(column), quoted(table)
    ((values, dates),) = select(memory, f"SELECT count({name}), sum({name} GLOB '{_DAY}') FROM {source}")
    if not dates or 2 * dates < values:
        return ""
    query = f"SELECT substr({name}, 1, 10) FROM {source} WHERE {name} GLOB '{_DAY}' ORDER BY 1 DESC LIMIT 1 OFFSET {dates // 10}"
    ((day,),) = select(memory, query)
    try:
        return date.fromisoformat(day).isoformat()
    except ValueError:  # such as 2025-02-30
        return ""
