"""Calls in each family's markup are read completely, or stay as markup that is refused: nothing between the markers
vanishes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.messages import ToolSpec
from generation.llm.parsing.dialects import markup, written_calls

ADA, BOB = '{"name": "greet", "arguments": {"who": "Ada"}}', '{"name": "greet", "arguments": {"who": "Bob"}}'
XML = "<function=greet>\n<parameter=who>\n{}\n</parameter>\n</function>"


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        (f"<tool_call>{ADA}\n{BOB}</tool_call>", ""),
        (f"<tool_call>\n{ADA},\n{BOB}}}\n</tool_call>", ""),
        (f"<tool_call>\n```json\n{ADA}\n```\n```json\n{BOB}\n```\n</tool_call>", ""),
        (f"<tool_call>{XML.format('Ada')}\n{XML.format('Bob')}</tool_call>", ""),
        (f"<|python_tag|>{ADA}; {BOB}<|eom_id|>", ""),
        (f"<|python_tag|>{ADA}\n{BOB}", ""),
        (f"[TOOL_CALLS] [{ADA}, {BOB}]</s>", ""),
        (f"[TOOL_CALLS][{ADA}, {BOB}]\nBoth are greeted.", "Both are greeted."),
        ('[TOOL_CALLS]greet[ARGS]{"who": "Ada"}[TOOL_CALLS]greet[ARGS]{"who": "Bob"} Hello!', "Hello!"),
    ],
)
def test_all_calls_between_two_markers_are_read(text: str, rest: str) -> None:
    content, calls = written_calls(text, ())
    assert [json.loads(call.arguments) for call in calls] == [{"who": "Ada"}, {"who": "Bob"}]
    assert content == rest


@pytest.mark.parametrize(
    "text",
    [
        f"<tool_call>{ADA} and then tell Bob.</tool_call>",
        f"<tool_call>First: {ADA}</tool_call>",
        f'<tool_call>{ADA}\n{{"who": "Bob"}}</tool_call>',
        f"<tool_call>{ADA}\n{BOB[:-3]}</tool_call>",
        f"<tool_call>[{ADA}, {BOB}]</tool_call>",
        f"<tool_call>{XML.format('Ada')} and Bob</tool_call>",
        f"<tool_call>{XML.format('Ada').replace('</function>', 'and Bob</function>')}</tool_call>",
        f"<|python_tag|>{ADA} and Bob<|eom_id|>",
        f"[TOOL_CALLS]Calls: [{ADA}]",
        '[TOOL_CALLS]greet[ARGS]{"who": "Ada"}greet[ARGS]{"who": "Bob"}',
        '<｜tool▁call▁begin｜>function<｜tool▁sep｜>greet\n{"who": "Ada"} and Bob<｜tool▁call▁end｜>',
    ],
)
def test_what_else_stands_between_markers_stays_as_markup(text: str) -> None:
    content, _ = written_calls(text, ())
    assert markup(content)
    assert "Bob" in content or "First" in content or "Calls" in content


NULLABLE = {"anyOf": [{"type": "string"}, {"type": "null"}]}


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "string"}, "12", "12"),
        ({"type": "string"}, "None", "None"),
        ({"type": ["string", "null"]}, "12", "12"),
        ({"type": ["string", "null"]}, "true", "true"),
        ({"type": ["string", "null"]}, "null", None),
        (NULLABLE, "0012", "0012"),
        (NULLABLE, "12", "12"),
        ({"$ref": "#/$defs/text"}, "12", "12"),
        ({"$ref": "#/$defs/text"}, "None", None),
        ({"type": ["string", "integer"]}, "12", 12),
        ({"type": ["integer", "null"]}, "12", 12),
        ({}, "12", 12),
    ],
)
def test_text_of_a_parameter_takes_a_type_that_its_schema_allows(schema: dict[str, Any], text: str, value: Any) -> None:
    parameters = {"type": "object", "properties": {"who": schema}, "$defs": {"text": NULLABLE}}
    (call,) = written_calls(XML.format(text), [ToolSpec(name="greet", description="Greet.", parameters=parameters)])[1]
    assert json.loads(call.arguments) == {"who": value}
