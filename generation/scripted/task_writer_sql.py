"""The stand-in's task writer for databases with tools of sql_shapes: moves on the rows of the view, phrased as goals,
with their plan. Tools of any other origin go to task_writer_tools."""

from __future__ import annotations

import re
from random import Random
from typing import Any

from generation.llm.contexts import TaskWriterContext
from generation.scripted.drafts import Draft, Move, join, next_target
from generation.scripted.sql_shapes import Kind, Shape, shapes
from generation.scripted.sql_tables import closed_values, is_unique, label, row_name, rows_name
from generation.specs.spelling import snake, words
from generation.tasks.grounding import finder

Row = dict[str, Any]

_FEW = 4
"""Rows of a list on average at most; of more than three, nothing can be told."""


class SqlTaskWriter:
    """Recognises the shapes of the tools and picks rows from the view. `learnt` is what a follow-up can use:
    (table, column) -> the value of an earlier result."""

    def __init__(self, context: TaskWriterContext, rng: Random) -> None:
        assert context.schema, "shapes belong to a relational schema"
        self.schema = context.schema
        self.context = context
        self.rng = rng
        self.wanted: Shape | None = None
        known = shapes(self.schema)
        self.tools = {tool.name: tool for tool in context.tools}
        self.shapes = [known[tool.name] for tool in context.tools if tool.name in known]
        self.flags = self.schema.flags
        self.view = {table: rows for table, rows in context.view.items() if rows}
        self.learnt = self._learnt(context) if context.want_follow_up else {}
        self.weights: list[tuple[Move, int]] = [
            (self.look_up, 5),
            (self.listing, 4),
            (self.update, 5),
            (self.create, 3),
            (self.top, 2),
            (self.total, 2),
            (self.count, 2),
            (self.delete, 2),
        ]
        self.moves: dict[Kind, Move] = {
            "search": self.look_up,
            "get": self.look_up,
            "list": self.listing,
            "update": self.update,
            "create": self.create,
            "top": self.top,
            "total": self.total,
            "count": self.count,
            "delete": self.delete,
        }

    def _learnt(self, context: TaskWriterContext) -> dict[tuple[str, str], Any]:
        """The facts that identify a row: keys and names of the tables that earlier tasks read, and foreign keys."""
        owners: dict[str, tuple[str, str]] = {}
        known = shapes(self.schema)
        for call in (call for task in context.previous[-1:] for call in task.plan if call.tool in known):
            table, key = known[call.tool].table, known[call.tool].key
            name = label(table)
            columns = {key: (table.name, key)} | ({name.name: (table.name, name.name)} if name else {})
            columns |= {
                k.columns[0]: (k.parent, k.parent_columns[0]) for k in table.foreign_keys if len(k.columns) == 1
            }
            owners |= {snake(column): target for column, target in columns.items() if snake(column) in call.tell}
        return {owners[field]: value for field, value in context.facts.items() if field in owners and value is not None}

    def move(self, draft: Draft) -> str | None:
        """A move of a random kind, or one with a target tool."""
        name = next_target(self.context, draft, self.rng)
        self.wanted = next((shape for shape in self.shapes if shape.name == name), None)
        if self.wanted and self.wanted.kind in self.moves:
            return self.moves[self.wanted.kind](draft)
        moves, weights = zip(*self.weights, strict=True)
        chosen: Move = self.rng.choices(moves, weights)[0]
        return chosen(draft)

    # Moves: each adds its calls to the draft and returns the phrase of its subgoal, or None if it does not apply.

    def look_up(self, draft: Draft) -> str | None:
        shape = self._shape("search", "get")
        row = shape and self._row(shape.table.name, shape.column, draft)
        if not shape or not row or self._is_vague(shape.table.name, shape.column, row[shape.column]):
            return None
        fields = self._fields(shape, row)
        if not fields:
            return None
        subject = self._subject(shape, row)
        is_learnt = self.learnt.get((shape.table.name, shape.column)) == row[shape.column]
        if shape.kind == "get" and not is_learnt and self.is_internal(shape.key):
            return None
        index = draft.call(shape.name, {snake(shape.column): row[shape.column]}, [snake(f) for f in fields])
        if shape.kind == "search":
            draft.available[shape.table.name, str(row[shape.column])] = index
        return f"find out the {join([words(f) for f in fields])} of {subject}"

    def listing(self, draft: Draft) -> str | None:
        shape = self._shape("list")
        if not shape or not shape.parent or shape.table.rows > _FEW * shape.parent.rows:
            return None
        target = self.find(shape.parent.name, draft)
        if not target:
            return None
        reference, subject = target
        plain = [name for name in self._plain(shape) if name != shape.column]
        fields = [shape.key, *self.rng.sample(plain, min(1, len(plain)))]
        draft.call(shape.name, {snake(shape.column): reference}, [snake(f) for f in fields])
        return f"see the {words(rows_name(shape.table.name))} of {subject} with {join([words(f) for f in fields])}"

    def total(self, draft: Draft) -> str | None:
        shape = self._shape("total")
        target = self.find(shape.parent.name, draft) if shape and shape.parent else None
        if not shape or not target:
            return None
        reference, subject = target
        fields = list(shape.returns["items"]["properties"])
        draft.call(shape.name, {snake(shape.column): reference}, fields)
        return f"know the {join([words(name) for name in fields])} of {subject}"

    def update(self, draft: Draft) -> str | None:
        shape = self._shape("update")
        if not shape:
            return None
        target = self.find(shape.table.name, draft)
        value = self.fresh(shape, shape.column)
        if not target or value is None:
            return None
        reference, subject = target
        draft.call(shape.name, {snake(shape.key): reference, snake(shape.column): value})
        return f"change the {words(shape.column)} of {subject} to {value}"

    def create(self, draft: Draft, shape: Shape | None = None) -> str | None:
        shape = shape or self._shape("create")
        if not shape:
            return None
        foreign = {key.columns[0]: key.parent for key in shape.table.foreign_keys if len(key.columns) == 1}
        columns = {snake(c.name): c.name for c in shape.table.columns}
        arguments: dict[str, Any] = {}
        subject, details = "", []
        for name in shape.parameters["properties"]:
            column = columns[name]
            looks_up = column in foreign and (not subject or self.is_internal(name))
            owner = self.find(foreign[column], draft) if looks_up else None
            if owner and not subject:
                arguments[name], subject = owner
                continue
            if owner is None and self.is_internal(name):
                return None
            arguments[name], detail = owner or (self.fresh(shape, column), "")
            if arguments[name] is None:
                return None
            details.append(detail or f"{words(column)} {arguments[name]}")
        if not details:
            return None
        asks = self.rng.random() < 0.5  # a further task can build on the new row only if its key was told
        draft.call(shape.name, arguments, [snake(shape.key)] if asks else [])
        beneficiary = f" for {subject}" if subject else ""
        wish = f", and get the new {words(shape.key)}" if asks else ""
        return f"add a new {words(row_name(shape.table.name))}{beneficiary} with {join(details)}{wish}"

    def top(self, draft: Draft) -> str | None:
        shape = self._shape("top")
        if not shape:
            return None
        limit = self.rng.randint(1, 3)
        name = label(shape.table)
        fields = [name.name if name else shape.key, shape.column]
        draft.call(shape.name, {"limit": limit}, [snake(f) for f in fields])
        many = words(rows_name(shape.table.name)) if limit > 1 else words(row_name(shape.table.name))
        return f"know the top {limit} {many} by {words(shape.column)}"

    def count(self, draft: Draft) -> str | None:
        shape = self._shape("count")
        if not shape:
            return None
        value = self.rng.choice(closed_values(self.schema, shape.table, shape.column))
        field_name = f"number_of_{rows_name(shape.table.name)}"
        draft.call(shape.name, {snake(shape.column): value}, [field_name])
        return f"know how many {words(rows_name(shape.table.name))} have the {words(shape.column)} {value}"

    def delete(self, draft: Draft) -> str | None:
        shape = self._shape("delete")
        target = self.find(shape.table.name, draft) if shape else None
        if not shape or not target:
            return None
        reference, subject = target
        draft.call(shape.name, {snake(shape.key): reference})
        return f"delete {subject}"

    # Building blocks of moves.

    def _shape(self, *kinds: str) -> Shape | None:
        if self.wanted and self.wanted.kind in kinds:
            return self.wanted
        fitting = [shape for shape in self.shapes if shape.kind in kinds]
        return self.rng.choice(fitting) if fitting else None

    def _recalls(self, table: str, column: str, draft: Draft) -> bool:
        """Whether to use a learnt value: always for the first use in a task, then in half of the cases."""
        if (table, column) not in self.learnt or (draft.follows and self.rng.random() < 0.5):
            return False
        draft.follows = True
        return True

    def _row(self, table: str, column: str, draft: Draft) -> Row | None:
        """A row, identified by `column`: the learnt one, of which only that value may be known, or one of the view."""
        rows = self.view.get(table, [])
        if self._recalls(table, column, draft):
            value = self.learnt[table, column]
            return next((row for row in rows if row[column] == value), {column: value})
        return self.rng.choice(rows) if rows else None

    def _is_vague(self, table: str, column: str, value: Any) -> bool:
        """Whether a value identifies no row: there is none, or several rows of the view share it."""
        return value is None or sum(row[column] == value for row in self.view.get(table, [])) > 1

    def find(self, table: str, draft: Draft) -> tuple[Any, str] | None:
        """(argument, phrase) for one row: by an identifier that the user knows, by an earlier lookup, or by a new
        search."""
        noun = words(row_name(table))
        key = next((s.key for s in shapes(self.schema).values() if s.table.name == table), None)
        if key is None:
            return None
        if self._recalls(table, key, draft):
            return self.learnt[table, key], f"{noun} number {self.learnt[table, key]}"
        earlier = [(name, index) for (owner, name), index in draft.available.items() if owner == table]
        if earlier:
            name, index = self.rng.choice(earlier)
            return f"${{{index}.{snake(key)}}}", f"the {noun} {name}"
        search = next((s for s in self.shapes if s.kind == "search" and s.table.name == table), None)
        row = self._row(table, search.column if search else key, draft)
        if row is None or (search is None and not self.rng.random() < 0.6):
            return None
        if search is None:
            return row[key], f"{noun} number {row[key]}"
        if self._is_vague(table, search.column, row[search.column]):
            return None
        if key in row and not self.is_internal(key) and self.rng.random() < 0.3:
            return row[key], f"{noun} number {row[key]}"
        name = str(row[search.column])
        index = draft.call(search.name, {snake(search.column): name})
        draft.available[table, name] = index
        return f"${{{index}.{snake(key)}}}", f"the {noun} {name}"

    def is_internal(self, key: str) -> bool:
        """Whether users do not know a key, but what to look it up with."""
        return finder("", snake(key), self.tools) is not None

    def _subject(self, shape: Shape, row: Row) -> str:
        noun = words(row_name(shape.table.name))
        return f"the {noun} {row[shape.column]}" if shape.kind == "search" else f"{noun} number {row[shape.column]}"

    def _plain(self, shape: Shape) -> list[str]:
        returned = shape.returns["items"]["properties"]
        return [
            c.name for c in shape.table.columns if snake(c.name) in returned and not c.primary_key and not c.nullable
        ]

    def _fields(self, shape: Shape, row: Row) -> list[str]:
        plain = [name for name in self._plain(shape) if name != shape.column and row.get(name, "?") not in (None, "")]
        chosen = self.rng.sample(plain, min(len(plain), self.rng.randint(1, 2)))
        return [shape.key, *chosen[:1]] if shape.kind == "search" and self.rng.random() < 0.7 else chosen

    def fresh(self, shape: Shape, column: str) -> Any:
        """A new value for a column, changed where no two rows may have the same."""
        value = self.value(shape, column)
        if not isinstance(value, str) or not is_unique(self.schema, shape.table, column):
            return value
        has_number = re.search(r"\d{3}", value)
        return re.sub(r"\d", lambda _: str(self.rng.randrange(10)), value) if has_number else f"new.{value}"

    def value(self, shape: Shape, column: str) -> Any:
        """A new value for a column: one of its closed set, a changed number, or the text of another row."""
        closed = closed_values(self.schema, shape.table, column)
        if closed:
            return self.rng.choice(closed)
        present = [row[column] for row in self.view.get(shape.table.name, []) if row[column] not in (None, "")]
        if not present:
            return None
        value = self.rng.choice(present)
        if set(present) <= {0, 1}:  # a boolean
            return 1 - value
        foreign = {name for key in shape.table.foreign_keys for name in key.columns}
        if isinstance(value, (int, float)) and column not in foreign:
            return (
                round(value * self.rng.choice((0.8, 0.9, 1.1, 1.25)), 2)
                if isinstance(value, float)
                else value + self.rng.randint(1, 9)
            )
        return value
