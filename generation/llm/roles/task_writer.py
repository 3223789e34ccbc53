"""The stand-in's task writer: one to three moves on the rows it is shown, phrased as goals, with their plan."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from generation.llm.base import TaskWriterContext
from generation.llm.roles.sql_shapes import Shape, closed_values, label, plural, shapes, singular, snake, words

Row = dict[str, Any]
_MOVES = {"easy": 1, "medium": 2, "hard": 3}


@dataclass
class Draft:
    """A task in the making; `known` maps (table, row label) to the call that looked the row up."""

    subgoals: list[str] = field(default_factory=list)
    plan: list[dict[str, Any]] = field(default_factory=list)
    known: dict[tuple[str, str], int] = field(default_factory=dict)

    def call(self, tool: str, arguments: dict[str, Any], tell: list[str] | None = None) -> int:
        entry = {"tool": tool, "arguments": arguments, "subgoal": len(self.subgoals), "tell": tell or []}
        self.plan.append(entry)
        return len(self.plan) - 1


class Writer:
    """Knows which of the shapes the given tools are, and what rows it may speak of."""

    def __init__(self, context: TaskWriterContext, rng: Random) -> None:
        assert context.schema, "the stand-in writes tasks from a relational schema"
        self.context = context
        self.schema = context.schema
        self.rng = rng
        known = shapes(self.schema)
        self.shapes = [known[tool.name] for tool in context.tools if tool.name in known]
        self.view = {table: rows for table, rows in context.view.items() if rows}

    def task(self) -> dict[str, Any]:
        draft = Draft()
        moves = [self.look_up, self.listing, self.update, self.create, self.top, self.total, self.count, self.delete]
        weights = [5, 4, 5, 3, 2, 2, 2, 2]
        for _ in range(40):
            if len(draft.subgoals) == _MOVES[self.context.difficulty]:
                break
            move: Callable[[Draft], str | None] = self.rng.choices(moves, weights)[0]
            before = len(draft.plan)
            text = move(draft)
            # Two subgoals that differ only in the new value would contradict each other.
            if text is None or any(text.rsplit(" to ", 1)[0] == other.rsplit(" to ", 1)[0] for other in draft.subgoals):
                del draft.plan[before:]
                draft.known = {key: call for key, call in draft.known.items() if call < before}
            else:
                draft.subgoals.append(text)
        return self._finish(draft)

    def _finish(self, draft: Draft) -> dict[str, Any]:
        parts = draft.subgoals
        if self.context.style == "question":
            goal = " ".join(("Please " if i == 0 else "Then ") + part + "." for i, part in enumerate(parts))
            if any(call["tool"].startswith("delete_") for call in draft.plan):
                goal += " There is no need to ask me for confirmation."
        else:
            goal = " ".join(
                ("The user wants to " if i == 0 else "They also want to ") + part + "." for i, part in enumerate(parts)
            )
        told = [words(name) for call in draft.plan for name in call["tell"]]
        return {
            "goal": goal,
            "subgoals": parts,
            "difficulty": self.context.difficulty,
            "plan": draft.plan,
            "criteria": [f"The assistant gets this done: {part}." for part in parts]
            + ([f"The user is told: {', '.join(dict.fromkeys(told))}."] if told else []),
            "checkpoints": [f"{call['tool']} has succeeded" for call in draft.plan],
        }

    # Moves: each adds its calls to the draft and gives the phrase of its subgoal, or None where it does not apply.

    def look_up(self, draft: Draft) -> str | None:
        shape = self._one("search", "get")
        row = shape and self._row(shape.table.name)
        if not shape or not row:
            return None
        fields = self._fields(shape, row)
        if not fields:
            return None
        subject = self._subject(shape, row)
        index = draft.call(shape.name, {snake(shape.column): row[shape.column]}, [snake(f) for f in fields])
        if shape.kind == "search":
            draft.known[(shape.table.name, str(row[shape.column]))] = index
        return f"find out the {_join([words(f) for f in fields])} of {subject}"

    def listing(self, draft: Draft) -> str | None:
        shape = self._one("list")
        if not shape or not shape.parent:
            return None
        found = self._find(shape.parent.name, draft)
        if not found:
            return None
        reference, subject = found
        plain = [name for name in self._plain(shape) if name != shape.column]
        fields = [shape.key, *self.rng.sample(plain, min(1, len(plain)))]
        draft.call(shape.name, {snake(shape.column): reference}, [snake(f) for f in fields])
        return f"see the {words(plural(shape.table.name))} of {subject} with {_join([words(f) for f in fields])}"

    def total(self, draft: Draft) -> str | None:
        shape = self._one("total")
        found = self._find(shape.parent.name, draft) if shape and shape.parent else None
        if not shape or not found:
            return None
        reference, subject = found
        fields = list(shape.returns["items"]["properties"])
        draft.call(shape.name, {snake(shape.column): reference}, fields)
        return f"know the {_join([words(name) for name in fields])} of {subject}"

    def update(self, draft: Draft) -> str | None:
        shape = self._one("update")
        if not shape:
            return None
        found = self._find(shape.table.name, draft)
        value = self._value(shape, shape.column)
        if not found or value is None:
            return None
        reference, subject = found
        draft.call(shape.name, {snake(shape.key): reference, snake(shape.column): value})
        return f"change the {words(shape.column)} of {subject} to {value}"

    def create(self, draft: Draft) -> str | None:
        shape = self._one("create")
        if not shape:
            return None
        foreign = {key.columns[0]: key.parent for key in shape.table.foreign_keys if len(key.columns) == 1}
        columns = {snake(c.name): c.name for c in shape.table.columns}
        arguments: dict[str, Any] = {}
        subject, details = "", []
        for name in shape.parameters["properties"]:
            column = columns[name]
            found = self._find(foreign[column], draft) if column in foreign and not subject else None
            if found:
                arguments[name], subject = found
                continue
            arguments[name] = self._value(shape, column)
            if arguments[name] is None:
                return None
            details.append(f"{words(column)} {arguments[name]}")
        draft.call(shape.name, arguments, [snake(shape.key)])
        owner = f" for {subject}" if subject else ""
        return f"add a new {words(singular(shape.table.name))}{owner} with {_join(details)}" if details else None

    def top(self, draft: Draft) -> str | None:
        shape = self._one("top")
        if not shape:
            return None
        limit = self.rng.randint(1, 3)
        name = label(shape.table)
        fields = [name.name if name else shape.key, shape.column]
        draft.call(shape.name, {"limit": limit}, [snake(f) for f in fields])
        many = words(plural(shape.table.name)) if limit > 1 else words(singular(shape.table.name))
        return f"know the top {limit} {many} by {words(shape.column)}"

    def count(self, draft: Draft) -> str | None:
        shape = self._one("count")
        if not shape:
            return None
        value = self.rng.choice(closed_values(self.schema, shape.table, shape.column))
        field_name = f"number_of_{plural(shape.table.name)}"
        draft.call(shape.name, {snake(shape.column): value}, [field_name])
        return f"know how many {words(plural(shape.table.name))} have the {words(shape.column)} {value}"

    def delete(self, draft: Draft) -> str | None:
        shape = self._one("delete")
        row = shape and self._row(shape.table.name)
        if not shape or not row:
            return None
        draft.call(shape.name, {snake(shape.key): row[shape.key]})
        return f"delete {words(singular(shape.table.name))} number {row[shape.key]}"

    # What moves are made of.

    def _one(self, *kinds: str) -> Shape | None:
        fitting = [shape for shape in self.shapes if shape.kind in kinds]
        return self.rng.choice(fitting) if fitting else None

    def _row(self, table: str) -> Row | None:
        rows = self.view.get(table)
        return self.rng.choice(rows) if rows else None

    def _find(self, table: str, draft: Draft) -> tuple[Any, str] | None:
        """(argument, phrase) for one row: by an identifier the user knows, by a row looked up before, or by a search."""
        one = words(singular(table))
        key = next((s.key for s in shapes(self.schema).values() if s.table.name == table), None)
        if key is None:
            return None
        if self.context.want_follow_up and snake(key) in self.context.facts:
            return self.context.facts[snake(key)], f"{one} number {self.context.facts[snake(key)]}"
        earlier = [(name, index) for (known, name), index in draft.known.items() if known == table]
        if earlier:
            name, index = self.rng.choice(earlier)
            return f"${{{index}.{snake(key)}}}", f"the {one} {name}"
        row = self._row(table)
        search = next((s for s in self.shapes if s.kind == "search" and s.table.name == table), None)
        if row is None or (search is None and not self.rng.random() < 0.6):
            return None
        if search is None or row[search.column] is None:
            return row[key], f"{one} number {row[key]}"
        name = str(row[search.column])
        index = draft.call(search.name, {snake(search.column): name})
        draft.known[(table, name)] = index
        return f"${{{index}.{snake(key)}}}", f"the {one} {name}"

    def _subject(self, shape: Shape, row: Row) -> str:
        one = words(singular(shape.table.name))
        return f"the {one} {row[shape.column]}" if shape.kind == "search" else f"{one} number {row[shape.column]}"

    def _plain(self, shape: Shape) -> list[str]:
        returned = shape.returns["items"]["properties"]
        return [
            c.name for c in shape.table.columns if snake(c.name) in returned and not c.primary_key and not c.nullable
        ]

    def _fields(self, shape: Shape, row: Row) -> list[str]:
        plain = [name for name in self._plain(shape) if name != shape.column and row[name] not in (None, "")]
        chosen = self.rng.sample(plain, min(len(plain), self.rng.randint(1, 2)))
        return [shape.key, *chosen[:1]] if shape.kind == "search" and self.rng.random() < 0.5 else chosen

    def _value(self, shape: Shape, column: str) -> Any:
        """A new value of a column's kind: another of a closed set, a changed number, or another row's text."""
        closed = closed_values(self.schema, shape.table, column)
        if closed:
            return self.rng.choice(closed)
        present = [row[column] for row in self.view.get(shape.table.name, []) if row[column] not in (None, "")]
        if not present:
            return None
        value = self.rng.choice(present)
        foreign = {name for key in shape.table.foreign_keys for name in key.columns}
        if isinstance(value, (int, float)) and column not in foreign:
            return (
                round(value * self.rng.choice((0.8, 0.9, 1.1, 1.25)), 2)
                if isinstance(value, float)
                else value + self.rng.randint(1, 9)
            )
        return value


def _join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def answer(context: TaskWriterContext, rng: Random) -> str:
    """One task as the JSON a real model gives."""
    return json.dumps(Writer(context, rng).task(), ensure_ascii=False)
