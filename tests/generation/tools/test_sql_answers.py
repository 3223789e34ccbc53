"""Tools parsed from a model's answer, whatever surrounds or damages them."""

import json
from typing import Any

import pytest

from generation.tools.answers import read_sql_tool, read_tools
from tests.generation.helpers.shop_database import INTEGER, STRING


def item(**changes: Any) -> dict[str, Any]:
    return {
        "name": "get_customer",
        "description": "One customer.",
        "sql": "SELECT name FROM customers WHERE customer_id = :id",
        "parameters": {"type": "object", "properties": {"id": INTEGER}, "required": ["id"]},
        "returns": {"type": "array", "items": {"type": "object", "properties": {"name": STRING}}},
    } | changes


@pytest.mark.parametrize(
    "frame",
    [
        "{}",
        "```json\n{}\n```",
        "Here you are [as asked], with notes [1]:\n\n{}\n\nTell me [if] it fits.",
        '<think>An array like ["a"]? [[1]] [{{]</think>{}',
        '{{"tools": {}}}',
    ],
)
def test_the_array_is_found_in_any_surroundings(frame: str) -> None:
    items = read_tools(frame.format(json.dumps([item(), item(name="other")], indent=1)))
    tools = [read_sql_tool(one) for one in items]
    assert [tool.spec.name for tool in tools] == ["get_customer", "other"]
    assert tools[0].sql == item()["sql"]
    assert tools[0].spec.returns == item()["returns"]


@pytest.mark.parametrize("text", [json.dumps(item()), json.dumps({"type": "function", "function": item()})])
def test_a_single_tool_is_a_list_of_one(text: str) -> None:
    (one,) = read_tools(text)
    assert read_sql_tool(one).spec.name == "get_customer"
    assert read_sql_tool(one).sql == item()["sql"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": "Get customer"}, '"name" is not snake_case'),
        ({"name": None}, '"name" is not snake_case'),
        ({"sql": None}, '"sql" is missing'),
        ({"sql": " "}, '"sql" is missing'),
        ({"parameters": {"type": "objekt"}}, "the type 'objekt' has no JSON form"),
        ({"parameters": "none"}, "Expecting value"),
        ({"parameters": {"type": "object", "properties": {"id": ["integer"]}}}, "a schema is expected"),
    ],
)
def test_an_item_that_is_no_tool_is_refused_with_the_reason(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_sql_tool(item(**changes))


@pytest.mark.parametrize(
    "parameters",
    [
        {"properties": {"id": INTEGER}, "required": ["id"]},
        {"id": "INTEGER"},
        {"type": "object", "properties": {"id": INTEGER, "required": ["id"]}},
    ],
)
def test_parameters_are_read_in_the_ways_models_write_them(parameters: dict[str, Any]) -> None:
    spec = read_sql_tool(item(parameters=parameters)).spec
    assert spec.parameters == {"type": "object", "properties": {"id": INTEGER}, "required": ["id"]}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot do that.",
        '["a", "b"]',
        '[{"name": "x"',
        "[" * 5_000,
        "[{" * 5_000,
        json.dumps([item(description="\ud83d")]),
    ],
)
def test_an_answer_without_tools_is_unreadable(text: str) -> None:
    with pytest.raises(ValueError):
        read_tools(text)


def test_an_empty_array_is_an_answer() -> None:
    assert read_tools("Nothing is missing: []") == []
