"""What a real small model (Qwen2.5-Coder-0.5B-Instruct) answered as tool maker and schema writer, quoted in short."""

from __future__ import annotations

import json

import pytest

from generation.llm.parsing.json_text import complete_part
from generation.tools.answers import read_questions, read_sql_tool, read_tools
from generation.tools.merging import merge, read_tool
from tests.generation.helpers.schema_toolsets import toolset
from tests.generation.tools.test_output_schemas import THREE, predict
from tests.helpers.paths import SHARED_DATA

RECORDED = SHARED_DATA / "real_answers" / "recorded.jsonl"

BOOKINGS = """```json
[
    {
        "name": "read_bookings",
        "description": "Reads bookings from the database for a specific customer.",
        "parameters": {
            "customer_id": "INTEGER"
        },
        "returns": {
            "rows_affected": "INTEGER"
        },
        "sql": "SELECT booking_id, class_id FROM bookings WHERE customer_id = :customer_id"
    },
    {
        "name": "Get All Patients",
        "description": "Returns a list of all patients in the database.",
        "parameters": {},
        "returns": {
            "rows_affected": 0,
            "data": []
        },
        "sql": "SELECT patient_id FROM patients"
    },
    {
        "name": "delete_members",
        "description": "Deletes members for"""

TEMPERATURE = """```json
{
  "type": "function",
  "function": {
    "name": "get_temperature",
    "description": "Returns the current temperature in your area.",
    "parameters": {
      "type": "object",
      "properties": {
        "city": {"type": "string", "description": "name of the city"},
        "timezone": {"type": "string", "description": "timezone (e.g., 'America/New_York')"}
      }
    },
    "required": ["city", "timezone"]
  }
}
```"""

RECIPES = """```json
[
  {
    "type": "function",
    "function": {
      "name": "search_recipes",
      "description": "Find recipes by ingredient",
      "parameters": {
        "ingredient": {"type": "string", "description": "an ingredient"},
        "max_minutes": {"type": "integer", "description": "longest preparation time in minutes"}
      },
      "required": ["ingredient"]
    }
  },
  {
    "type": "function",
    "function": {
      "name": "get_recipe",
      "description": "Details of one recipe.",
      "parameters": {
        "type": "object",
        "properties": {
          "recipe_id": {"type": "string", "description": "id of the recipe"},
          "required": ["recipe_id"]
        }
      }
    }
  }
]
```"""


def test_the_whole_tools_of_a_cut_answer_are_read() -> None:
    bookings, patients = read_tools(complete_part(BOOKINGS))
    assert read_sql_tool(bookings).spec.parameters["properties"] == {"customer_id": {"type": "integer"}}
    with pytest.raises(ValueError, match='"name" is not snake_case'):
        read_sql_tool(patients)


@pytest.mark.skipif(not RECORDED.is_file(), reason="../shared/data/real_answers is missing")
def test_none_of_the_whole_tools_in_three_cut_answers_is_thrown_away() -> None:
    rows = [json.loads(line) for line in RECORDED.read_text().splitlines()]
    answers = [rows[number]["answer"]["content"] for number in (20, 21, 22)]
    assert [len(read_tools(complete_part(answer))) for answer in answers] == [8, 10, 6]


def test_required_next_to_the_parameters_or_among_them_belongs_to_them() -> None:
    (temperature,) = read_tools(TEMPERATURE)
    assert read_tool(temperature).parameters["required"] == ["city", "timezone"]
    search, get = (read_tool(tool) for tool in read_tools(RECIPES))
    assert search.parameters["required"] == ["ingredient"]
    assert search.parameters["properties"].keys() == {"ingredient", "max_minutes"}
    assert get.parameters["properties"].keys() == {"recipe_id"}
    assert get.parameters["required"] == ["recipe_id"]
    assert merge((), [temperature, *read_tools(RECIPES)]).counts["invalid"] == 0


def test_questions() -> None:
    asked = '[\n  "What is the current temperature in your area?",\n  "Can you tell me about the weather today?"\n]'
    assert len(read_questions(asked)) == 2
    assert read_questions(complete_part(asked[:-5])) == ["What is the current temperature in your area?"]


async def test_a_brace_too_many_after_a_schema_does_no_harm_and_an_empty_one_is_sent_back() -> None:
    user = """{"type": "object", "properties": {"user": {"type": "object",
    "properties": {"user_id": {"type": "integer"}}}}}, "required": ["user"]}"""
    orders = """{"type": "object", "properties": {"orders": {"type": "array", "items": {"type": "object",
    "properties": {"order_id": {"type": "string"}}}}}}"""
    empty = '{"type": "object", "properties": {}}'
    updated = '{"type": "object", "properties": {"done": {"type": "boolean"}}}}}'
    made, requests, _ = await predict(toolset(*THREE), user, orders, empty, updated)
    assert [list((tool.returns or {})["properties"]) for tool in made.tools] == [["user"], ["orders"], ["done"]]
    assert "the object has no properties" in requests[-1].messages[-1].content
