"""External tool specs: every format, type names of other languages, and the reasons for unusable ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.messages import ToolSpec
from generation.specs.formats import parse_tool_name, parse_tool_spec
from generation.specs.json_types import named_type
from generation.specs.structured import structured

Raw = dict[str, Any]

CITY = {"type": "object", "properties": {"city": {"type": "string", "description": "Where."}}, "required": ["city"]}
OPENAI = {"type": "function", "function": {"name": "get_weather", "description": "The weather.", "parameters": CITY}}
WEATHER = ToolSpec(name="get_weather", description="The weather.", parameters=CITY)


def flat(name: str, **properties: Any) -> Raw:
    return {"name": name, "description": f"Does {name}.", "parameters": {"type": "object", "properties": properties}}


def parameters(raw: Any) -> Raw:
    return parse_tool_spec({"name": "f", "description": "F.", "parameters": raw}).parameters


@pytest.mark.parametrize(
    "raw",
    [
        OPENAI,
        OPENAI["function"],
        json.dumps(OPENAI),
        {"name": "get_weather", "description": " The weather. ", "parameters": json.dumps(CITY)},
        {"name": "get_weather", "description": "The weather.", "input_schema": CITY},
        {"name": "get_weather", "description": "The weather.", "inputSchema": CITY, "annotations": {"title": "W"}},
        {"name": "get weather", "description": "The weather.", "parameters": CITY | {"type": "dict", "required": ["city", "town"]}},
        {"name": "get.weather", "description": "The weather.", "parameters": {"city": {"type": "str", "description": "Where."}}},
        {"name": "get-weather", "description": "The weather.", "parameters": [
            {"name": "city", "type": "String", "description": "Where.", "required": True}]},
        {"type": "function", "strict": True, "function": OPENAI["function"] | {"strict": True, "returns": "text"}},
        WEATHER.model_dump(),
    ],
)  # fmt: skip
def test_every_format_of_a_spec_gives_the_same_tool(raw: Any) -> None:
    assert parse_tool_spec(raw) == WEATHER


@pytest.mark.parametrize(
    ("written", "schema", "optional"),
    [
        ("str", {"type": "string"}, False),
        ("str, optional", {"type": "string"}, True),
        ("int (optional)", {"type": "integer"}, True),
        ("str, default 'a'", {"type": "string"}, True),
        ("Optional[List[int]]", {"type": "array", "items": {"type": "integer"}}, True),
        ("float", {"type": "number"}, False),
        ("bool", {"type": "boolean"}, False),
        ("any", {}, False),
        ("dict", {"type": "object"}, False),
        ("Dict[str, List[int]]", {"type": "object"}, False),
        ("HashMap", {"type": "object"}, False),
        ("tuple", {"type": "array"}, False),
        ("Tuple[float, float]", {"type": "array", "items": {"type": "number"}}, False),
        ("Tuple[int, str]", {"type": "array"}, False),
        ("list[List[str]]", {"type": "array", "items": {"type": "array", "items": {"type": "string"}}}, False),
        ("List[Dict[str, Any]]", {"type": "array", "items": {"type": "object"}}, False),
        ("array of strings", {"type": "array", "items": {"type": "string"}}, False),
        ("number[]", {"type": "array", "items": {"type": "number"}}, False),
        ("Union[int, str]", {"type": ["integer", "string"]}, False),
        ("int | None", {"type": ["integer", "null"]}, False),
        ("string or integer", {"type": ["string", "integer"]}, False),
        (
            "Union[str, List[str]]",
            {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
            False,
        ),
        ("Union[int, Any]", {}, False),
        ("typing.Sequence[int]", {"type": "array", "items": {"type": "integer"}}, False),
        ("string (YYYY-MM-DD)", {"type": "string"}, False),
        ("datetime.date", {"type": "string"}, False),
    ],
)
def test_names_of_types(written: str, schema: Raw, optional: bool) -> None:
    assert named_type(written) == (schema, optional)


@pytest.mark.parametrize("written", ["Callable[[float], float]", "np.ndarray", "List[Widget]", "customer"])
def test_a_type_without_a_json_form_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="has no JSON form"):
        named_type(written)


@pytest.mark.parametrize("missing", [{}, None, "", "{}", {"type": "object"}, {"type": "object", "properties": None}])
def test_no_parameters_are_an_empty_object(missing: Any) -> None:
    assert parameters(missing) == {"type": "object", "properties": {}}
    assert parse_tool_spec({"name": "ping"}) == ToolSpec(
        name="ping", description="Ping.", parameters={"type": "object", "properties": {}}
    )


@pytest.mark.parametrize(
    ("raw", "required"),
    [
        ({"a": {"type": "str"}, "b": {"type": "str, optional"}, "c": {"type": "int", "default": 3}}, ["a"]),
        ({"a": {"type": "str", "required": True}, "b": {"type": "str"}}, ["a"]),
        ({"a": {"type": "str", "optional": True}, "b": {"type": "str"}}, ["b"]),
        ({"a": "string", "type": {"type": "string"}}, ["a", "type"]),
        ({"type": "object", "properties": {"a": {"type": "str", "required": True}, "b": {"type": "str"}}}, ["a"]),
        ({"type": "object", "properties": {"a": {"type": "str"}, "b": {"type": "str"}}, "required": ["b"]}, ["b"]),
        ({"type": "object", "properties": {"a": {"type": "str"}}, "required": None}, None),
        ({"type": "object", "properties": {"a": {"type": "str"}}}, None),
    ],
)
def test_which_parameters_are_required(raw: Raw, required: list[str] | None) -> None:
    schema = parameters(raw)
    assert schema.get("required") == required
    assert {name: part["type"] for name, part in schema["properties"].items()}.keys() >= set(required or [])


def test_nested_schemas_are_parsed_and_invalid_keywords_dropped() -> None:
    raw = {
        "type": "dict",
        "properties": {
            "where": {"type": "dict", "properties": {"lat": {"type": "float", "minimum": "low"}, "tags": {"type": "list"}}},
            "sizes": {"type": "tuple", "items": [{"type": "int"}, {"type": "int"}]},
            "kind": {"type": "string", "enum": [], "examples": "big", "pattern": r"^\p{L}+$", "nullable": True},
            "rows": {"items": {"properties": {"n": {"type": "int"}}}},
            "either": {"anyOf": [{"type": "float"}, {"type": "null"}], "default": None},
            "gone": None,
        },
        "additionalProperties": False,
    }  # fmt: skip
    assert parameters(raw) == {
        "type": "object",
        "properties": {
            "where": {"type": "object", "properties": {"lat": {"type": "number"}, "tags": {"type": "array"}}},
            "sizes": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "integer"}]},
            "kind": {"type": ["string", "null"]},
            "rows": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}},
            "either": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        },
        "additionalProperties": False,
    }


def test_an_output_schema_is_kept() -> None:
    returns = {"type": "array", "items": {"type": "dict", "properties": {"id": {"type": "int"}}}}
    expected = {"type": "array", "items": {"type": "object", "properties": {"id": {"type": "integer"}}}}
    for key in ("returns", "outputSchema", "output_schema"):
        assert parse_tool_spec({"name": "f", key: returns}).returns == expected


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (7, "an object with a name and parameters is expected, got 7"),
        ({"function": "get_x"}, "an object with a name"),
        ({}, "the name None cannot be used"),
        ({"name": "???"}, "the name '\\?\\?\\?' cannot be used"),
        ({"name": "x" * 65}, "1 to 64 letters"),
        ({"name": "f", "parameters": {"type": "string"}}, "type object is expected, got 'string'"),
        ({"name": "f", "parameters": 7}, "parameters: an object is expected, got 7"),
        ({"name": "f", "parameters": "{"}, "Expecting"),
        ({"name": "f", "parameters": [{"type": "string"}]}, "a name and a type each are expected"),
        ({"name": "f", "parameters": {"a": {"type": "Widget"}}}, "the type 'Widget' has no JSON form"),
        ({"name": "f", "parameters": {"a": {"type": 7}}}, "type: a name is expected, got 7"),
        ({"name": "f", "parameters": {"properties": ["a"]}}, "properties: an object is expected"),
        ({"name": "f", "parameters": {"a": {"$ref": "#/$defs/A"}}}, "the reference #/\\$defs/A does not resolve"),
        ({"name": "f", "parameters": {"a": {"$ref": "https://x.org/s"}}}, "does not resolve"),
        ({"name": "f", "parameters": {"a": {"type": "integer", "multipleOf": 0}}}, "not a JSON Schema"),
        ({"name": "f", "description": "\ud83d"}, "surrogates not allowed"),
        ({"name": "f", "parameters": {"a": {"type": "number", "default": float("nan")}}}, "not JSON compliant"),
    ],
)
def test_an_invalid_tool_is_refused_with_the_reason(raw: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_tool_spec(raw)


def test_a_reference_within_the_schema_may_stay() -> None:
    raw = {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"type": "int"}}}
    spec = parse_tool_spec({"name": "f", "parameters": raw})
    assert spec.argument_error({"a": 1}) is None
    assert spec.argument_error({"a": "x"})


@pytest.mark.parametrize("depth", [150, 5000])
def test_deep_nesting_is_refused_without_a_crash(depth: int) -> None:
    schema: Raw = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    with pytest.raises(ValueError, match="too deeply nested"):
        parse_tool_spec({"name": "f", "parameters": schema})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["string", "dict", "List[int]", "int, optional", "x", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "properties",
                    "items",
                    "required",
                    "enum",
                    "anyOf",
                    "name",
                    "description",
                    "parameters",
                    "$ref",
                    "a",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(
    st.builds(
        lambda rest: {"name": "f", **rest},
        st.dictionaries(st.sampled_from(["parameters", "returns", "description"]), JSON),
    )
)
def test_any_json_gives_a_tool_or_a_reason_and_parsing_is_idempotent(raw: Raw) -> None:
    try:
        spec = parse_tool_spec(raw)
    except ValueError:
        return
    assert parse_tool_spec(spec.model_dump()) == spec
    assert parse_tool_spec(spec.openai()) == spec.model_copy(update={"returns": None})
    spec.argument_error({"a": 1})
    json.dumps(spec.model_dump(), allow_nan=False)


def test_callable_names() -> None:
    names = ("geo.lookup city", "3d-print", " _x_ ", "Größe", "functions/get", "getUser")
    assert [parse_tool_name(n) for n in names] == [
        "geo_lookup_city",
        "tool_3d_print",
        "x",
        "Gr_e",
        "functions_get",
        "getUser",
    ]


@pytest.mark.parametrize(
    ("given", "schema"),
    [
        ({"type": "integer", "minimum": 0, "exclusiveMinimum": True}, {"type": "integer", "exclusiveMinimum": 0}),
        ({"type": "integer", "maximum": 9, "exclusiveMaximum": False}, {"type": "integer", "maximum": 9}),
        ({"type": "integer", "exclusiveMaximum": True}, {"type": "integer"}),
        ({"type": "number", "exclusiveMinimum": 0.5, "exclusiveMaximum": "9"}, {"type": "number", "exclusiveMinimum": 0.5}),
        ({"type": "string", "default": None, "title": None}, {"type": "string"}),
        ({"type": "object", "additionalProperties": "false"}, {"type": "object", "additionalProperties": False}),
        ({"type": "object", "additionalProperties": "True"}, {"type": "object", "additionalProperties": True}),
        ({"type": "object", "additionalProperties": "str"}, {"type": "object", "additionalProperties": {"type": "string"}}),
        ({"type": "array", "uniqueItems": "true"}, {"type": "array", "uniqueItems": True}),
        ({"type": "string", "nullable": "false"}, {"type": "string"}),
        ({"type": "string", "nullable": "true"}, {"type": ["string", "null"]}),
    ],
)  # fmt: skip
def test_keywords_as_people_write_them(given: Raw, schema: Raw) -> None:
    assert parameters({"type": "object", "properties": {"x": given}})["properties"]["x"] == schema


def test_alternatives_may_require_properties_of_the_schema_around_them() -> None:
    either = [{"required": ["mail"]}, {"required": ["phone"]}]
    text = {"type": "string"}
    raw = {"type": "object", "properties": {"mail": text, "phone": text}, "anyOf": either}
    tool = parse_tool_spec({"name": "call", "parameters": raw})
    assert tool.parameters == raw
    assert tool.argument_error({"phone": "7"}) is None
    assert tool.argument_error({}) is not None
    assert "anyOf" not in structured(tool.parameters)


def test_a_default_of_null_makes_a_parameter_optional() -> None:
    assert parameters({"a": {"type": "str", "default": None}, "b": "str"})["required"] == ["b"]


def test_a_required_mark_may_be_text() -> None:
    assert parameters({"a": {"type": "str", "required": "true"}, "b": {"type": "str", "required": "False"}})[
        "required"
    ] == ["a"]
