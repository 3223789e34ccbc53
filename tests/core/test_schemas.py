"""Schemas that models wrote: hostile ones raise nothing and fetch nothing, harmless ones validate as in jsonschema."""

from __future__ import annotations

import socket
import sys
from itertools import permutations
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from core.schemas import schema_error, schema_problem

TOO_DEEP = "it is too deeply nested"


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
def test_an_unusable_schema_is_a_violation_not_an_exception(schema: dict[str, Any]) -> None:
    assert str(schema_error("a" * 5000 + "!", schema)).startswith("the schema itself cannot be used: ")


@pytest.mark.parametrize(
    ("value", "divisor"),
    [(10**400, 0.5), (1.5, 10**400), (float("nan"), 0.5), (float("inf"), 0.5), (1.5, float("nan"))],
)
def test_numbers_beyond_arithmetic_are_a_violation_not_an_exception(value: float, divisor: float) -> None:
    assert schema_error(value, {"multipleOf": divisor}) is not None


def test_the_violation_does_not_depend_on_the_order_of_the_keywords() -> None:
    schema = {"type": "string", "const": "a", "enum": ["a", "b"]}
    assert len({schema_error(5, {key: schema[key] for key in keys}) for keys in permutations(schema)}) == 1


@pytest.mark.parametrize("recursion_limit", [1000, 5000])
@pytest.mark.parametrize(("depth", "problem"), [(63, None), (64, TOO_DEEP), (150, TOO_DEEP), (100_000, TOO_DEEP)])
def test_a_schema_nested_too_deeply_is_refused(depth: int, problem: str | None, recursion_limit: int) -> None:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(recursion_limit)
    schema_problem.cache_clear()
    try:
        assert schema_problem('{"not":' * depth + "{}" + "}" * depth) == problem
    finally:
        sys.setrecursionlimit(before)
    assert schema_problem('{"not":' * 9 + "{}" + "}" * 9) is None


@pytest.mark.parametrize("key", ["patternProperties", "additionalProperties"])
def test_matching_names_against_slow_patterns_has_a_time_limit(key: str) -> None:
    schema = {"patternProperties": {"^(a+)+$": {}}, key: {"^(a+)+$": {}} if key == "patternProperties" else False}
    assert "takes too long" in str(schema_error({"a" * 5000 + "!": 1}, schema))


def test_references_of_a_schema_are_not_fetched() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        place = f"http://127.0.0.1:{server.getsockname()[1]}/schema.json"
        assert str(schema_error(1, {"$ref": place})).startswith("the schema itself cannot be used")
        with pytest.raises(TimeoutError):
            server.accept()


NAMES = st.text("abxy_", min_size=1, max_size=3)
PATTERNS = st.sampled_from(["^a", "b$", "x|y", "_", "^[ab]+$"])


@example({"a": 1}, {"b$": {"type": "integer"}}, False)
@example(3, {"b$": {"type": "integer"}}, False)
@given(
    st.dictionaries(NAMES, st.one_of(st.integers(-2, 2), NAMES), max_size=4),
    st.dictionaries(PATTERNS, st.sampled_from([{"type": "integer"}, {"pattern": "^a"}, {"minimum": 0}]), max_size=2),
    st.sampled_from([True, False, {"type": "string"}]),
)
def test_patterns_match_as_in_jsonschema(value: Any, patterns: Any, additional: Any) -> None:
    schema = {"properties": {"a": {}}, "patternProperties": patterns, "additionalProperties": additional}
    assert (schema_error(value, schema) is None) == Draft202012Validator(schema).is_valid(value)
