"""The fields that a policy's rules may name: of a tool's arguments, and of the rows that a look-up returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from core.messages import ToolSpec
from core.policy import LookUp
from generation.policies.comparisons import COUNT, counted
from generation.specs.resolved_schema import Schema, field, is_list, kinds, row

Fields = Callable[[str], Schema | None]
"""A field's name -> its schema, of a list that of its members; {} if it may be anything, None if there is no such
field."""


def declared_fields(schema: Schema) -> Fields:
    """The fields of a tool's parameters or result."""

    def found(name: str) -> Schema | None:
        listed = counted(name)
        if not listed or not field(schema, listed):
            return field(schema, listed or name)
        return {"type": "integer"} if is_list(schema, listed) else None

    return found


def row_fields(look_up: LookUp, specs: Mapping[str, ToolSpec]) -> Fields:
    """The fields of the rows that a look-up with known tools returns."""
    returns = specs[look_up.tool].returns or {}
    single = row(returns)
    is_single = "object" not in (kinds(single, returns) or {"object"})
    own: Fields = (lambda name: single if name == "value" else None) if is_single else declared_fields(returns)
    outer = scope_fields(look_up, specs)
    return either(own, outer) if outer else own


def scope_fields(look_up: LookUp, specs: Mapping[str, ToolSpec]) -> Fields | None:
    """The fields of what a look-up is made of: the rows of its `of`, with the fields of each member; None without
    `of`."""
    if look_up.of is None:
        return None
    rows = row_fields(look_up.of, specs)
    return either(_members(rows, look_up.each), rows) if look_up.each else rows


def either(first: Fields, second: Fields) -> Fields:
    """The fields of both; where both declare a field, the first decides."""

    def found(name: str) -> Schema | None:
        declared = first(name)
        if declared:
            return declared
        other = second(name)
        return declared if other is None else other

    return found


def _members(rows: Fields, each: str) -> Fields:
    """The fields of the members of the rows' list `each`."""

    def found(name: str) -> Schema | None:
        listed = counted(name)
        return rows(f"{COUNT}{each}.{listed}" if listed else f"{each}.{name}")

    return found
