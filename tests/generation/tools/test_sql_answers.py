"""Tools parsed from a model's answer, whatever surrounds or damages them."""

import json
from typing import Any

import pytest

from generation.tools.from_database import parse_tools
from tests.generation.helpers.shop_database import INTEGER, STRING


def item(**changes: Any) -> dict[str, Any]:
    return {
        "name": "get_customer",
        "description": "One customer.",
        "parameters": {"type": "object", "properties": {"id": INTEGER}, "required": ["id"]},
        "returns": {"type": "array", "items": {"type": "object", "properties": {"name": STRING}}},
        "sql": "SELECT name FROM customers WHERE customer_id = :id",
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
    tools, problems = parse_tools(frame.format(json.dumps([item(), item(name="other")], indent=1)))
    assert [t.spec.name for t in tools] == ["get_customer", "other"]
    assert tools[0].sql == item()["sql"]
    assert tools[0].spec.returns == item()["returns"]
    assert problems == []


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (item(name="get customer"), "tool 'get customer': spec.name: String should match pattern"),
        (item(sql=None), "tool 'get_customer': sql: Input should be a valid string"),
        (item(parameters={"type": "objekt"}), "tool 'get_customer': spec.parameters: Value error, not a JSON Schema"),
        (item(parameters="none"), "tool 'get_customer': spec.parameters: Input should be a valid dictionary"),
        (item(strict=True), "tool 'get_customer': spec.strict: Extra inputs are not permitted"),
        ({}, "tool None: spec.name: Field required"),
        (item(name="other"), "tool 'other': the name is given twice"),
    ],
)
def test_an_invalid_item_does_not_affect_the_others(bad: dict[str, Any], problem: str) -> None:
    tools, problems = parse_tools(json.dumps([item(name="other"), bad, item(name="third")]))
    assert [t.spec.name for t in tools] == ["other", "third"]
    (only,) = problems
    assert only.startswith(problem)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot do that.",
        "[]",
        '["a", "b"]',
        '[{"name": "x"',
        json.dumps(item()),
        "[" * 5_000,
        "[{" * 5_000,
        json.dumps([item(description="\ud83d")]),  # a lone surrogate, which UTF-8 cannot encode
    ],
)
def test_an_answer_without_tools_says_so(text: str) -> None:
    assert parse_tools(text) == ((), ["the answer has no JSON array of tools"])
