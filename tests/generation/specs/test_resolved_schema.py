"""References, `allOf` and all alternatives are read as jsonschema reads them."""

from __future__ import annotations

from typing import Any, Literal

import hypothesis.strategies as st
import pytest
from hypothesis import given
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from generation.specs.resolved_schema import alternatives, choices, field, field_names, is_list, kinds, resolved


class Flight(BaseModel):
    flight_number: str
    status: Literal["landed", "delayed"]
    seats: int | None = None


class Cancelled(BaseModel):
    flight_number: int
    reason: str


class Trip(BaseModel):
    flights: list[Flight | Cancelled]
    leader: Flight | None = None
    codes: list[str] | str = ""


TRIP = Trip.model_json_schema()
"""As pydantic writes it: `$ref` into `$defs`, `anyOf` of models and of null."""


def test_fields_of_a_schema_with_references_and_alternatives() -> None:
    assert list(field_names(TRIP)) == [
        "flights",
        "flights.flight_number",
        "flights.status",
        "flights.seats",
        "flights.reason",
        "leader",
        "leader.flight_number",
        "leader.status",
        "leader.seats",
        "codes",
    ]
    assert kinds(field(TRIP, "flights.flight_number"), {}) == {"string", "number"}
    assert kinds(field(TRIP, "flights.reason"), {}) == {"string"}, "a field of the second alternative"
    assert choices(field(TRIP, "leader.status")) == ["landed", "delayed"]
    assert field(TRIP, "leader.reason") is None
    assert field(TRIP, "flight") is None
    assert field(TRIP, "codes.x") is None
    assert is_list(TRIP, "flights")
    assert is_list(TRIP, "codes")
    assert not is_list(TRIP, "leader")


def test_all_of_adds_fields_to_each_alternative() -> None:
    schema = {
        "allOf": [{"$ref": "#/$defs/base"}, {"anyOf": [{"properties": {"a": {"type": "string"}}}, {"type": "object"}]}],
        "properties": {"own": {"type": "boolean"}},
        "$defs": {"base": {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}},
    }
    assert [set(option["properties"]) for option in alternatives(schema, schema)] == [{"own", "id", "a"}, {"own", "id"}]
    assert resolved(schema, schema)["required"] == ["id"]
    assert {name: kinds(field(schema, name), {}) for name in ("own", "id", "a")} == {
        "own": {"boolean"},
        "id": {"number"},
        "a": {"string"},
    }
    assert field(schema, "b") is None


def test_objects_without_declared_fields_may_have_any() -> None:
    assert field({}, "x") == field({"type": "object"}, "x") == field({"type": "array"}, "x") == {}
    assert field({"properties": {"a": {}}, "additionalProperties": True}, "b") == {}
    assert field({"anyOf": [{"properties": {"a": {}}}, {"type": "object"}]}, "b") == {}
    assert field({"type": "string"}, "x") is None
    assert field({"type": "null"}, "x") is None


def test_a_schema_that_refers_to_itself_ends() -> None:
    tree = {"properties": {"child": {"$ref": "#"}, "same": {"anyOf": [{"$ref": "#/properties/same"}]}}}
    assert field(tree, "child.child.child.same") == {}
    assert alternatives(tree["properties"]["same"], tree) == [{}]
    doubling = {f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(40)}
    assert len(alternatives({"$ref": "#/$defs/d0"}, {"$defs": doubling})) <= 64


_PART = st.sampled_from([{"type": name} for name in ("string", "integer", "number", "boolean", "null", "object")])
_PARTS = st.recursive(
    _PART | st.just({"$ref": "#/$defs/one"}) | st.just({"type": ["integer", "null"]}) | st.just({"enum": ["a", 1]}),
    lambda parts: (
        st.builds(
            lambda key, options: {key: options},
            st.sampled_from(["anyOf", "oneOf"]),
            st.lists(parts, min_size=1, max_size=3),
        )
        | parts.map(lambda part: {"allOf": [part]})
    ),
    max_leaves=8,
)


@given(part=_PARTS, one=_PART)
@pytest.mark.parametrize(
    ("value", "kind"),
    [("a", "string"), (1, "number"), (0.5, "number"), (True, "boolean"), ({}, "object")],
)
def test_a_value_that_the_schema_allows_is_of_one_of_its_kinds(
    value: Any, kind: str, part: dict[str, Any], one: dict[str, Any]
) -> None:
    schema = part | {"$defs": {"one": one}}
    if Draft202012Validator(schema).is_valid(value):
        found = kinds(schema, schema)
        assert not found or kind in found
