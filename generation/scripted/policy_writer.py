"""The stand-in's policy writer: rules of every form that schema, data and tools allow, as a model's JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from random import Random
from typing import Any

from generation.database.schema import Column
from generation.llm.contexts import PolicyContext
from generation.scripted.policy_rules import RuleJson, contact, decimal, listed, rule, with_article
from generation.scripted.policy_writer_tools import tool_forms
from generation.scripted.sql_shapes import Shape, shapes
from generation.scripted.sql_tables import closed_values, label, row_name, rows_name
from generation.specs.spelling import snake, words

_STATUS = {"status", "state", "stage", "condition", "phase"}
_PER_FORM = 2


def answer(context: PolicyContext, rng: Random) -> str:
    """At most `limit` rules: one of each form, then a second one. None that the policy has or that was refused before,
    and only one about the same arguments of a tool."""
    forms = _sql_forms(context, rng) if context.schema and context.executable else tool_forms(context, rng)
    known = {rule.rule_id for rule in context.rules} | {reason.partition(":")[0] for reason in context.refused}
    fresh = [[proposed for proposed in form if proposed["rule_id"] not in known][:_PER_FORM] for form in forms]
    chosen: dict[str, RuleJson] = {}
    for proposals in zip_longest(*fresh):
        for proposed in filter(None, proposals):
            chosen.setdefault(_concern(proposed), proposed)
    return json.dumps(list(chosen.values())[: context.limit], ensure_ascii=False)


def _concern(proposed: RuleJson) -> str:
    """What a rule is about: the arguments that it limits, else itself."""
    limited = [part["field"] for part in (*proposed.get("when", ()), *proposed.get("require", ()))]
    of_call = proposed["form"] in ("arguments", "staff") and limited
    return f"{proposed['tools']} {sorted(limited)}" if of_call else proposed["rule_id"]


def _sql_forms(context: PolicyContext, rng: Random) -> list[list[RuleJson]]:
    """The proposals of each form, the best first."""
    assert context.schema is not None, "rules from shapes need a schema"
    known = shapes(context.schema)
    rules = _SqlRules(context, [known[tool.name] for tool in context.tools if tool.name in known])
    return [
        list(rules.by_status()),
        list(rules.identity()),
        list(rules.open_records()),
        list(rules.confirm()),
        list(rules.limits()),
        list(rules.staff(rng)),
    ]


class _SqlRules:
    """Rules for tools whose shapes the stand-in knows."""

    def __init__(self, context: PolicyContext, tool_shapes: Sequence[Shape]) -> None:
        assert context.schema is not None, "rules from shapes need a schema"
        self.schema = context.schema
        self.rows = context.rows
        self.shapes = tool_shapes

    def _of_kind(self, *kinds: str) -> list[Shape]:
        return [shape for shape in self.shapes if shape.kind in kinds]

    def _get(self, shape: Shape) -> dict[str, Any] | None:
        """The look-up of the row that a call changes."""
        getter = next((get for get in self._of_kind("get") if get.table.name == shape.table.name), None)
        key = snake(shape.key)
        return {"tool": getter.name, "arguments": {key: f"${{{key}}}"}} if getter else None

    def _values(self, table: str, column: str) -> Counter[Any]:
        return Counter(row[column] for row in self.rows.get(table, ()) if row.get(column) is not None)

    def by_status(self) -> Iterator[RuleJson]:
        """Changes only while a column with a closed set of values has certain ones, read from the row itself."""
        for shape in self._of_kind("update", "delete"):
            look_up = self._get(shape)
            for column in sorted(shape.table.columns[:7], key=_is_not_status) if look_up else ():
                found = self._values(shape.table.name, column.name)
                closed = closed_values(self.schema, shape.table, column.name)
                if column.name == shape.column or len(found) < 2 or not closed:
                    continue
                never = min(found, key=lambda value: (found[value], -closed.index(value)))
                allowed = [value for value in closed if value != never]
                field, row = words(snake(column.name)), words(row_name(shape.table.name))
                yield rule(
                    "state",
                    f"{shape.name}_by_{snake(column.name)}",
                    f"You may {_does(shape)} only while its {field} is {listed(allowed)}; refuse it for {with_article(row)} whose "
                    f"{field} is {never}.",
                    [shape.name],
                    look_up=look_up,
                    require=[{"field": snake(column.name), "op": "in", "value": allowed}],
                )

    def open_records(self) -> Iterator[RuleJson]:
        """At most as many records of one owner as the fullest one has."""
        lists = {(shape.table.name, shape.column): shape for shape in self._of_kind("list")}
        for shape in self._of_kind("create"):
            for (table, column), listing in lists.items():
                owners = self._values(table, column)
                if table != shape.table.name or listing.parent is None or not owners or max(owners.values()) < 2:
                    continue
                most, parameter = min(max(owners.values()), 10), snake(column)
                owner, many = words(row_name(listing.parent.name)), words(rows_name(table))
                yield rule(
                    "state",
                    f"fewer_than_{most}_{rows_name(table)}",
                    f"One {owner} has at most {most} {many}; refuse to add another one to {with_article(owner)} with "
                    f"{most} or more.",
                    [shape.name],
                    look_up={"tool": listing.name, "arguments": {parameter: f"${{{parameter}}}"}},
                    require=[{"field": snake(shape.key), "op": "is_not", "value": None}],
                    fewer_than=most,
                )

    def identity(self) -> Iterator[RuleJson]:
        """A search of the person before a record is added for them, or one of theirs is changed."""
        for shape in self._of_kind("create", "delete", "update"):
            for foreign in shape.table.foreign_keys:
                search = next((s for s in self._of_kind("search") if s.table.name == foreign.parent), None)
                if search is None or len(foreign.columns) != 1 or not _is_person(search):
                    continue
                look_up = None if shape.kind == "create" else self._get(shape)
                # Without a list of the person's records, no search leads to the record.
                if shape.kind != "create" and not (look_up and self._lists(shape, foreign.columns[0])):
                    continue
                who, named = words(row_name(foreign.parent)), words(snake(search.column))
                yield rule(
                    "identity",
                    f"known_{row_name(foreign.parent)}_before_{shape.name}",
                    f"Look up the {who} by {named} before you {_does(shape)} for them.",
                    [shape.name],
                    first=[search.name],
                    subject=snake(foreign.columns[0]),
                    **({"look_up": look_up} if look_up else {}),
                )

    def _lists(self, shape: Shape, column: str) -> bool:
        return any((s.table.name, s.column) == (shape.table.name, column) for s in self._of_kind("list"))

    def confirm(self) -> Iterator[RuleJson]:
        """A yes before something is deleted, or added."""
        for kind in ("delete", "create"):
            if found := self._of_kind(kind):
                yield rule(
                    "confirm",
                    f"ask_before_{kind}",
                    f"Before you {' or '.join(map(_does, found))}, say what will be done and wait for the user's yes.",
                    [shape.name for shape in found],
                )

    def limits(self) -> Iterator[RuleJson]:
        """A limit for a number, at the upper end of the data; for a new record also the values of a closed set."""
        for shape, column in self._set_columns():
            field, row = words(snake(column.name)), words(row_name(shape.table.name))
            closed = closed_values(self.schema, shape.table, column.name)
            if (limit := self._limit(shape, column)) is not None:
                yield rule(
                    "arguments",
                    f"limit_of_{snake(column.name)}_in_{shape.name}",
                    f"When you {_does(shape)}, the {field} is at most {limit}; refuse a higher one.",
                    [shape.name],
                    require=[{"field": snake(column.name), "op": "at_most", "value": limit}],
                )
            elif shape.kind == "create" and len(closed) >= 3:
                allowed = list(closed[:-1])
                yield rule(
                    "arguments",
                    f"{snake(column.name)}_of_new_{row_name(shape.table.name)}",
                    f"The {field} of a new {row} is {listed(allowed)}; refuse another one.",
                    [shape.name],
                    require=[{"field": snake(column.name), "op": "in", "value": allowed}],
                )

    def staff(self, rng: Random) -> Iterator[RuleJson]:
        """What only the staff do: one value of a closed set, or the highest numbers."""
        for shape, column in reversed(list(self._set_columns())):
            field, desk = words(snake(column.name)), contact(rng)
            closed = closed_values(self.schema, shape.table, column.name)
            if shape.kind == "update" and len(closed) >= 3:
                when: dict[str, Any] = {"op": "is", "value": closed[-1]}
                what = f"to {closed[-1]}"
            elif (limit := self._limit(shape, column)) is not None:
                when = {"op": "at_least", "value": limit}
                what = f"if the {field} is {limit} or more"
            else:
                continue
            text = f"Only the staff {_does(shape)} {what}: do not do it, tell the user to turn to {desk}."
            whens = [{"field": snake(column.name)} | when]
            yield rule(
                "staff", f"{snake(column.name)}_of_{shape.name}_by_staff", text, [shape.name], contact=desk, when=whens
            )

    def _set_columns(self) -> Iterator[tuple[Shape, Column]]:
        """What updates and new records set, but for keys."""
        for shape in self._of_kind("update", "create"):
            foreign = {name for key in shape.table.foreign_keys for name in key.columns}
            for column in shape.table.columns:
                is_set = column.name == shape.column if shape.kind == "update" else not column.primary_key
                if is_set and column.name not in foreign:
                    yield shape, column

    def _limit(self, shape: Shape, column: Column) -> float | int | None:
        """The upper end of a column's numbers; None if it is not an amount."""
        numbers = sorted(self._values(shape.table.name, column.name).elements()) if column.kind != "string" else []
        if len(set(numbers)) < 3 or column.flag or "year" in snake(column.name).split("_"):
            return None
        return decimal(numbers[len(numbers) * 9 // 10])


def _is_not_status(column: Column) -> bool:
    """False for columns that are a status by their name, which thereby sort first."""
    return not _STATUS & set(snake(column.name).split("_"))


def _is_person(search: Shape) -> bool:
    """Whether rows of the table are people: they have a name and an e-mail address."""
    mail = any({"email", "mail"} & set(snake(column.name).split("_")) for column in search.table.columns)
    return mail and label(search.table) is not None


def _does(shape: Shape) -> str:
    row = words(row_name(shape.table.name))
    if shape.kind == "update":
        return f"change the {words(snake(shape.column))} of {with_article(row)}"
    return f"add {with_article(row)}" if shape.kind == "create" else f"delete {with_article(row)}"
