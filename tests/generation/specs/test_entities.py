"""The entity registry, against schemas built of known fields."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generation.specs.entities import EntityRegistry, SchemaField, field_types, fields
from generation.specs.spelling import singular, snake
from tests.generation.helpers.schemas import Schema, obj, rows

KEYS = {"user_id": "user_id", "userId": "user_id", "User-ID": "user_id", "total": "total", "status": "status"}
PLURALS = {"user_ids": "user_id", "groups": "group", "categories": "category", "totals": "total"}
VALUES = {"string": "x", "integer": 3, "number": 1.5, "boolean": True}


class Described(NamedTuple):
    """A schema, the type of its values, and its fields in the order written; `item` is an array's scalar type."""

    schema: Schema
    kind: str
    below: tuple[tuple[str, str], ...] = ()
    item: str | None = None


@st.composite
def scalar_schemas(draw: st.DrawFn) -> Described:
    kind = draw(st.sampled_from(sorted(VALUES)))
    style = draw(st.sampled_from(["plain", "list", "any", "enum"]))
    schema: dict[str, Schema] = {
        "plain": {"type": kind},
        "list": {"type": draw(st.permutations([kind, "null"]))},
        "any": {"anyOf": draw(st.permutations([{"type": kind}, {"type": "null"}]))},
        "enum": {"enum": [VALUES[kind], None]},
    }
    return Described(schema[style], kind)


def object_schemas(inner: st.SearchStrategy[Described]) -> st.SearchStrategy[Described]:
    return st.dictionaries(st.sampled_from(sorted(KEYS | PLURALS)), inner, max_size=4).map(_object)


def _object(parts: dict[str, Described]) -> Described:
    below: list[tuple[str, str]] = []
    for name, part in parts.items():
        below.append((name, part.kind))
        if part.item and name in PLURALS:
            below.append((PLURALS[name], part.item))
        below += part.below
    return Described(
        {"type": "object", "properties": {name: part.schema for name, part in parts.items()}}, "object", tuple(below)
    )


def _array(item: Described) -> Described:
    return Described(
        {"type": "array", "items": item.schema}, "array", item.below, item.kind if item.kind in VALUES else None
    )


SCHEMAS = object_schemas(
    st.recursive(scalar_schemas(), lambda inner: object_schemas(inner) | inner.map(_array), max_leaves=8)
)


@settings(max_examples=150, deadline=None)
@given(st.lists(SCHEMAS, min_size=1, max_size=4))
def test_a_fields_first_type_is_canonical_and_every_other_one_a_conflict(parts: list[Described]) -> None:
    registry = EntityRegistry()
    first: dict[str, str] = {}
    for part in parts:
        assert list(fields(part.schema)) == [SchemaField(name, (kind,)) for name, kind in part.below]
        wrong: list[tuple[str, str, str]] = []
        before = dict(first)
        for name, kind in part.below:
            canonical = first.setdefault(KEYS.get(name, name), kind)
            if canonical != kind and (name, canonical, kind) not in wrong:
                wrong.append((name, canonical, kind))
        expected = registry.conflicts("tool", part.schema)
        assert registry.types == before
        assert registry.learn("tool", part.schema) == expected
        assert [(c.name, c.known, c.declared) for c in expected] == wrong
    assert registry.types == first


@pytest.mark.parametrize(
    ("schema", "types"),
    [
        ({"type": "integer"}, ("integer",)),
        ({"type": ["null", "string"]}, ("string",)),
        ({"type": ["string", "integer"]}, ("string", "integer")),
        ({"type": ["integer", "number"]}, ("number",)),
        ({"anyOf": [{"type": "null"}, {"type": "array"}]}, ("array",)),
        ({"oneOf": [{"type": "string"}, {"enum": [1, 2]}]}, ("string", "integer")),
        ({"const": True}, ("boolean",)),
        ({"enum": [None]}, ()),
        ({"properties": {}}, ("object",)),
        ({"items": {}}, ("array",)),
        ({"description": "anything"}, ()),
        (True, ()),
    ],
)
def test_the_types_that_a_schema_admits(schema: Any, types: tuple[str, ...]) -> None:
    assert field_types(schema) == types


def test_names_are_compared_in_any_spelling() -> None:
    assert [snake(n) for n in ("userID", "user-id", "User Id", "HTTPStatus", "order2Item")] == [
        "user_id",
        "user_id",
        "user_id",
        "http_status",
        "order2_item",
    ]
    plurals = (
        "user_ids",
        "categories",
        "boxes",
        "branches",
        "addresses",
        "userIds",
        "status",
        "address",
        "analysis",
        "id",
    )
    assert [singular(n) for n in plurals] == [
        "user_id", "category", "box", "branch", "address", "userId", "status", "address", "analysis", "id",
    ]  # fmt: skip


def test_a_conflict_names_the_origin_of_the_type() -> None:
    registry = EntityRegistry()
    assert registry.learn("get_user", obj(user_id="integer")) == []
    (conflict,) = registry.learn("search_orders", rows(userId={"type": ["string", "null"]}))
    assert str(conflict) == "userId is integer in get_user, not string"
    (number,) = registry.learn(
        "list_users", {"type": "array", "items": obj(user_ids={"type": "array", "items": {"type": "number"}})}
    )
    assert str(number) == "user_id is integer in get_user, not number"
