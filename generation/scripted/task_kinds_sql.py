"""The stand-in's special requests on databases (core.request_kinds.RequestKind): drafts with one subgoal each.

A draft that turns out not to be of its kind, because only the whole database could tell, is refused by its proof, and
the writer is asked again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from random import Random

from core.request_kinds import RequestKind
from generation.llm.contexts import TaskWriterContext
from generation.scripted.drafts import Draft, answer_of
from generation.scripted.special_moves import is_date, is_telling
from generation.scripted.sql_shapes import Shape
from generation.scripted.sql_tables import label, row_name, rows_name
from generation.scripted.task_refusals_sql import DecliningMoves
from generation.scripted.task_writer_sql import SqlTaskWriter
from generation.scripted.wishes import WANTS
from generation.specs.spelling import snake, words

_TRIES = 30
_PARENTS = 4
"""Records whose lists are compared at most."""


def special_answer(context: TaskWriterContext, rng: Random, writer: SqlTaskWriter) -> str | None:
    """A draft of the context's kind as JSON; None if the tools and the view allow none."""
    return _Special(context, rng, writer).answer()


class _Special(DecliningMoves):
    """Builds one draft."""

    def answer(self) -> str | None:
        moves: dict[RequestKind, Callable[[Draft], str | None]] = {
            "evidence": self.evidence,
            "computed": self.computed,
            "long_result": self.long_result,
            "incomplete": self.withholding,
            "withdrawn": self.withholding,
            "ambiguous": self.ambiguous,
            "changed": self.changed,
            "late_tool": self.change,
            "no_tool": self.change,
            "forbidden": self.forbidden,
            "not_found": self.not_found,
        }
        for _ in range(_TRIES):
            draft = Draft()
            self.extra_fields = {}
            if subgoal := moves[self.context.kind](draft):
                draft.subgoals.append(subgoal)
                return json.dumps(json.loads(answer_of(draft, self.context)) | self.extra_fields, ensure_ascii=False)
        return None

    # Values to compare and compute.

    def evidence(self, draft: Draft) -> str | None:
        found = self._lists(draft)
        if not found:
            return None
        shape, calls, subject = found
        by = self._measure(shape)
        if by is None:
            return None
        choice = self.rng.choice(("lowest", "highest"))
        noun = f"the {words(row_name(shape.table.name))} with the {choice} {words(by)} of {subject}"
        chosen = f"${{{choice} {snake(by)} of {calls}: %s}}"
        update = next((s for s in self.shuffled("update") if s.table.name == shape.table.name and s.column != by), None)
        if update and self.rng.random() < 0.7:
            value = self.plain_value(update)
            if value is None:
                return None
            arguments = {snake(update.key): chosen % snake(update.key), snake(update.column): value}
            draft.call(update.name, arguments)
            return f"change the {words(update.column)} of {noun} to {value}"
        told = [name for name in self.column_names(shape) if name not in (by, shape.column)]
        if not told:
            return None
        field = self.rng.choice(told)
        self._tell(draft, chosen % snake(field))
        return f"find out the {words(field)} of {noun}"

    def computed(self, draft: Draft) -> str | None:
        found = self._lists(draft)
        if not found:
            return None
        shape, calls, subject = found
        numbers = [c.name for c in self.columns(shape) if c.kind in ("number", "integer")]
        many = words(rows_name(shape.table.name))
        if not numbers or self.rng.random() < 0.3:
            self._tell(draft, f"${{count of {calls}}}")
            return f"know how many {many} there are of {subject}"
        column = self.rng.choice(numbers)
        function = self.rng.choice(("sum", "average"))
        self._tell(draft, f"${{{function} of {calls}: {snake(column)}}}")
        return f"know the {function} of the {words(column)} of all {many} of {subject}"

    def long_result(self, draft: Draft) -> str | None:
        shape = next(iter(self.shuffled("all")), None)
        by = self._measure(shape) if shape else None
        if shape is None or by is None:
            return None
        name = label(shape.table)
        field = name.name if name and name.name != by else shape.key
        choice = self.rng.choice(("lowest", "highest"))
        draft.call(shape.name, {}, [f"${{{choice} {snake(by)} of 0: {snake(field)}}}"])
        many = words(rows_name(shape.table.name))
        return f"find out the {words(field)} of the one with the {choice} {words(by)} of all {many}"

    def _lists(self, draft: Draft) -> tuple[Shape, str, str] | None:
        """Plans lists of the rows of as many parents as the wanted number of rows takes: (shape, the calls as a
        placeholder names them, their subject)."""
        shape = next((s for s in self.shuffled("list") if s.parent), None)
        if shape is None or shape.parent is None:
            return None
        calls: list[int] = []
        subjects: list[str] = []
        rows_each = max(1.0, shape.table.rows / max(1, shape.parent.rows))
        needed = math.ceil(self.context.evidence_rows / rows_each)
        for _ in range(min(_PARENTS, max(needed, self.rng.randint(1, 2)))):
            target = self.writer.find(shape.parent.name, draft)
            if target and target[1] not in subjects:
                calls.append(draft.call(shape.name, {snake(shape.column): target[0]}))
                subjects.append(target[1])
        return (shape, ",".join(map(str, calls)), " and ".join(subjects)) if calls else None

    def _measure(self, shape: Shape) -> str | None:
        """A column by which rows can be ranked."""
        columns = [c.name for c in self.columns(shape) if c.kind in ("number", "integer") or is_date(c)]
        return self.rng.choice(columns) if columns else None

    def _tell(self, draft: Draft, answer: str) -> None:
        draft.plan[-1] = draft.plan[-1].model_copy(update={"tell": (answer,)})

    # Wishes that change on the way.

    def change(self, draft: Draft) -> str | None:
        """A change of one value."""
        phrase = self.writer.update(draft)
        value = list(draft.plan[-1].arguments.values())[-1] if draft.plan else None
        return phrase if phrase and value not in (0, 1) and phrase.endswith(f" to {value}") else None

    def withholding(self, draft: Draft) -> str | None:
        phrase = self.change(draft)
        if phrase:
            self.extra_fields["withheld"] = [str(list(draft.plan[-1].arguments.values())[-1])]
        return phrase

    def changed(self, draft: Draft) -> str | None:
        phrase = self.change(draft)
        if not phrase:
            return None
        last = draft.plan[-1]
        name, value = list(last.arguments.items())[-1]
        shape = next(s for s in self.writer.shapes if s.name == last.tool)
        first = self.plain_value(shape)
        if first is None or str(first) == str(value):
            return None
        self.extra_fields |= {
            "first_wish": f"{WANTS}{phrase.removesuffix(f' to {value}')} to {first}.",
            "first_arguments": {name: first},
        }
        return phrase

    def ambiguous(self, draft: Draft) -> str | None:
        """A change of one of several rows that belong to the same parent."""
        shape = next((s for s in self.shuffled("list") if s.parent), None)
        if shape is None or shape.parent is None:
            return None
        update = next((s for s in self.shuffled("update") if s.table.name == shape.table.name), None)
        rows = self.writer.view.get(shape.table.name, [])
        if update is None or not rows:
            return None
        row = self.rng.choice(rows)
        parent = self.row_with_key(shape.parent, row[shape.column])
        columns = [c.name for c in self.columns(shape) if c.name not in (update.column, shape.column)]
        telling = [name for name in columns if is_telling(row.get(name))]
        value = self.plain_value(update)
        if parent is None or not telling or value is None:
            return None
        target = self.find_row(shape.parent, parent, draft)
        if target is None:
            return None
        column = self.rng.choice(telling)
        listed = draft.call(shape.name, {snake(shape.column): target[0]})
        chosen = f"${{where {snake(column)} is {row[column]} of {listed}: {snake(update.key)}}}"
        draft.call(update.name, {snake(update.key): chosen, snake(update.column): value})
        self.extra_fields["withheld"] = [str(row[column])]
        noun = f"the {words(row_name(shape.table.name))} of {target[1]} with the {words(column)} {row[column]}"
        return f"change the {words(update.column)} of {noun} to {value}"
