"""What the stand-in's requests of special kinds on databases are built from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from generation.database.schema import Column, Table
from generation.llm.contexts import TaskWriterContext
from generation.scripted.drafts import Draft
from generation.scripted.sql_shapes import Shape
from generation.scripted.sql_tables import row_name
from generation.scripted.task_writer_sql import Row, SqlTaskWriter
from generation.specs.spelling import snake, words


class SpecialMoves:
    """Moves of one draft. `extra_fields` are those of the answer that only its kind of request has."""

    def __init__(self, context: TaskWriterContext, rng: Random, writer: SqlTaskWriter) -> None:
        self.context = context
        self.rng = rng
        self.writer = writer
        self.extra_fields: dict[str, Any] = {}

    def find_row(self, table: Table, row: Row, draft: Draft) -> tuple[Any, str] | None:
        """(argument, phrase) for this row: found by its name, or by a number that users know."""
        noun = words(row_name(table.name))
        search = next((s for s in self.writer.shapes if s.kind == "search" and s.table.name == table.name), None)
        key = next((s.key for s in self.writer.shapes if s.table.name == table.name), None)
        if key is None or row.get(key) is None:
            return None
        if search and row.get(search.column):
            index = draft.call(search.name, {snake(search.column): row[search.column]})
            return f"${{{index}.{snake(key)}}}", f"the {noun} {row[search.column]}"
        return (row[key], f"{noun} number {row[key]}") if not self.writer.is_internal(key) else None

    def row_with_key(self, table: Table, key: Any) -> Row | None:
        """The row of the view with this key."""
        name = next((s.key for s in self.writer.shapes if s.table.name == table.name), None)
        rows = self.writer.view.get(table.name, [])
        return next((row for row in rows if name and row.get(name) == key), None)

    def shuffled(self, kind: str) -> Sequence[Shape]:
        """The tools of a kind in random order."""
        fitting = [shape for shape in self.writer.shapes if shape.kind == kind]
        return self.rng.sample(fitting, len(fitting))

    def columns(self, shape: Shape) -> Iterator[Column]:
        """The plain columns that a list returns: no keys, nothing that may be missing."""
        returned = shape.returns["items"]["properties"]
        foreign = {name for key in shape.table.foreign_keys for name in key.columns}
        for column in shape.table.columns:
            is_plain = not column.primary_key and not column.nullable and column.name not in foreign
            if is_plain and snake(column.name) in returned and column.name not in self.writer.flags:
                yield column

    def column_names(self, shape: Shape) -> list[str]:
        """The names of these columns."""
        return [column.name for column in self.columns(shape)]

    def plain_value(self, shape: Shape) -> Any:
        """A new value for an update's column that a user would say; None if there is none."""
        value = self.writer.value(shape, shape.column)
        return None if value in (0, 1, None) else value


def is_date(column: Column) -> bool:
    """Whether a column holds dates or times, by its name."""
    return column.kind == "string" and re.search(r"(_on|_at|date|_time|day)$", snake(column.name)) is not None


def is_telling(value: Any) -> bool:
    """Whether a value can tell rows apart in a sentence and stand in a placeholder."""
    return isinstance(value, str | int | float) and value not in (0, 1, "") and not re.search(r"[}:\n]", str(value))
