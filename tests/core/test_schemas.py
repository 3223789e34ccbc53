"""Schemas that models write: hostile ones end nothing and fetch nothing, and harmless ones mean what they mean to jsonschema."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from core.schemas import schema_error, schema_problem


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/nowhere"},
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {"$ref": "file:///etc/hostname"},
        {"pattern": "["},
        {"pattern": "^(a+)+$"},
        {"unevaluatedProperties": False},
    ],
)
def test_a_schema_that_cannot_be_used_is_an_error_and_no_exception(schema: dict[str, Any]) -> None:
    assert str(schema_error("a" * 5000 + "!", schema)).startswith("the schema itself cannot be used: ")


@pytest.mark.parametrize(
    ("value", "divisor"),
    [(10**400, 0.5), (1.5, 10**400), (float("nan"), 0.5), (float("inf"), 0.5), (1.5, float("nan"))],
)
def test_numbers_beyond_arithmetic_are_an_error_and_no_exception(value: float, divisor: float) -> None:
    assert schema_error(value, {"multipleOf": divisor}) is not None


@pytest.mark.parametrize("depth", [150, 100_000])
def test_a_schema_nested_too_deeply_is_none(depth: int) -> None:
    assert schema_problem('{"not":' * depth + "{}" + "}" * depth) == "it is too deeply nested"
    assert schema_problem('{"not":' * 9 + "{}" + "}" * 9) is None


@pytest.mark.parametrize("key", ["patternProperties", "additionalProperties"])
def test_names_are_held_against_slow_patterns_only_so_long(key: str) -> None:
    schema = {"patternProperties": {"^(a+)+$": {}}, key: {"^(a+)+$": {}} if key == "patternProperties" else False}
    assert "takes too long" in str(schema_error({"a" * 5000 + "!": 1}, schema))


def test_what_a_schema_refers_to_is_not_fetched() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        place = f"http://127.0.0.1:{server.getsockname()[1]}/schema.json"
        assert str(schema_error(1, {"$ref": place})).startswith("the schema itself cannot be used")
        with pytest.raises(TimeoutError):
            server.accept()


NAMES = st.text("abxy_", min_size=1, max_size=3)
PATTERNS = st.sampled_from(["^a", "b$", "x|y", "_", "^[ab]+$"])


@given(
    st.dictionaries(NAMES, st.one_of(st.integers(-2, 2), NAMES), max_size=4),
    st.dictionaries(PATTERNS, st.sampled_from([{"type": "integer"}, {"pattern": "^a"}, {"minimum": 0}]), max_size=2),
    st.sampled_from([True, False, {"type": "string"}]),
)
def test_patterns_mean_what_they_mean_to_jsonschema(value: Any, patterns: Any, additional: Any) -> None:
    schema = {"properties": {"a": {}}, "patternProperties": patterns, "additionalProperties": additional}
    assert (schema_error(value, schema) is None) == Draft202012Validator(schema).is_valid(value)
