"""The stand-in's task writer for tools of any origin: invented values fit, nested rows are read."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from generation.scripted.tool_values import ViewRow, from_row, invent
from tests.generation.helpers.task_drafts import LEVELS, asking, draft_of
from tests.generation.helpers.travel_tools import obj, spec

NAMES = st.sampled_from(["user_id", "city", "start_date", "amount", "tags", "note", "Flag", "postalCode", "limit"])


LEAF = st.sampled_from(
    [
        {"type": "string"},
        {"type": ["null", "string"]},
        {"type": "integer", "minimum": 3, "maximum": 4},
        {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        {"type": "integer", "multipleOf": 5},
        {"type": "boolean"},
        {"anyOf": [{"type": "null"}, {"type": "string", "format": "date-time"}]},
        {"type": "string", "format": "email"},
        {"type": "string", "enum": ["x", "y"]},
        {"const": 5},
        {"type": "array", "items": {"type": "string"}, "minItems": 1},
        {"type": "object"},
        {"type": "string", "pattern": "^[A-Z]{3}$"},
        {"type": "string", "description": "either 'cash' or 'card'"},
        {},
    ]
)


VERBS = st.sampled_from(["get", "list", "search", "create", "delete", "frobnicate", "setUp", "x"])


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.tuples(VERBS, st.dictionaries(NAMES, LEAF, max_size=3)), min_size=1, max_size=4),
    st.sampled_from(LEVELS),
    st.sampled_from([None, obj(user_id={"type": "string"}), {"type": "string"}, {"type": "array", "items": {}}]),
)
def test_unusual_tools_give_valid_calls_or_no_call(
    shapes: list[tuple[str, dict[str, Any]]], difficulty: str, returns: dict[str, Any] | None
) -> None:
    tools = tuple(
        spec(f"{verb}_thing{number}", obj(**parameters), returns) for number, (verb, parameters) in enumerate(shapes)
    )
    known = {tool.name: tool for tool in tools}
    draft = draft_of(asking(tools, difficulty), 0)
    for call in draft["plan"]:
        if "${" not in str(call["arguments"]):
            assert known[call["tool"]].argument_error(call["arguments"]) is None


@settings(max_examples=200, deadline=None)
@given(NAMES, LEAF, st.integers(0, 5))
def test_invented_values_fit_their_schema_or_are_none(name: str, schema: dict[str, Any], position: int) -> None:
    value = invent(name, schema, Random(f"{name}{position}"), position)
    assert value is None or Draft202012Validator(schema).is_valid(value)
    assert value is not None or "pattern" in schema or schema.get("type") == "object"


def test_options_in_descriptions_and_the_order_of_dates_are_respected() -> None:
    offered = {"type": "string", "description": "One of 'cash' or 'card'; the shop's choice, the user's wish."}
    assert {invent("payment", offered, Random(seed)) for seed in range(9)} == {"cash", "card"}
    for seed in range(30):
        first, second = (invent("date", {"type": "string", "format": "date"}, Random(seed + n), n) for n in (0, 1))
        assert first < second


@pytest.mark.parametrize(
    ("name", "schema", "expected"),
    [
        ("order_id", {"type": "string"}, {"#W1"}),
        ("orderId", {"type": "string"}, {"#W1"}),
        ("item_ids", {"type": "array", "items": {"type": "string"}}, {("a", "b")}),
        ("item_id", {"type": "string"}, {"a", "b"}),
        ("city", {"type": "string"}, {"Graz"}),
        ("card_id", {"type": "string"}, {"visa", "amex"}),
        ("note_id", {"type": "integer"}, {5, 6}),
        ("quantity", {"type": "string"}, {None}),
        ("email", {"type": "string"}, {None}),
    ],
)
def test_values_are_found_anywhere_in_a_row(name: str, schema: dict[str, Any], expected: set[Any]) -> None:
    row = {
        "id": "#W1",
        "items": [{"item_id": "a", "quantity": 1}, {"item_id": "b", "quantity": 2}],
        "ship_to": {"address": {"city": "Graz"}},
        "cards": {"visa": {"country": "Italy"}, "amex": {}},
        "notes": [5, 6],
        "email": None,
    }
    values = {json.dumps(from_row(ViewRow("orders", row), name, schema, Random(seed))) for seed in range(20)}
    assert {tuple(v) if isinstance(v, list) else v for v in map(json.loads, values)} == expected


def test_tasks_for_a_database_with_other_tools_use_its_rows(databases: list[Any]) -> None:
    schema, _, rows = next(entry for entry in databases if entry[0].name == "gym")
    tool = spec("find_member", obj(member_id={"type": "integer"}), obj(member_name={"type": "string"}))
    draft = draft_of(asking((tool,), "easy", schema=schema, view=rows), 0)
    known = {row["member_id"] for row in rows["members"]}
    assert [call["tool"] for call in draft["plan"]][:1] == ["find_member"]
    assert all(call["arguments"]["member_id"] in known for call in draft["plan"])
