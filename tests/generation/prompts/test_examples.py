"""The worked examples in the prompts of the tool maker and the schema writer follow the prompts' own rules."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import jsonschema
import pytest

from generation.database.image import Image
from generation.database.spec import TableSpec
from generation.database.sql_tools import verify_tool
from generation.llm.parsing.json_text import first_json, first_records
from generation.prompts import render
from generation.seeds.bundled import HELD_OUT, TRAINING
from generation.synthesis import answer_schemas as synthesis_schemas
from generation.synthesis.outline_checks import outline_problems
from generation.synthesis.reading import read_outline, read_sentence, read_table
from generation.synthesis.table_checks import table_problems
from generation.tools import answer_schemas
from generation.tools.answers import read_sql_tool
from generation.tools.merging import merge
from tests.generation.helpers.database_specs import LIMITS
from tests.generation.prompts.test_prompts import VALUES

LIGHTHOUSES = """
CREATE TABLE lighthouses (lighthouse_id INTEGER PRIMARY KEY, lighthouse_name TEXT NOT NULL, coast TEXT NOT NULL,
    height_m REAL NOT NULL);
CREATE TABLE keepers (keeper_id INTEGER PRIMARY KEY, lighthouse_id INTEGER NOT NULL REFERENCES lighthouses,
    keeper_name TEXT NOT NULL, phone TEXT);
INSERT INTO lighthouses VALUES (1, 'Grey Point', 'Amber Coast', 31.5);
INSERT INTO keepers VALUES (1, 1, 'Ada Moreno', NULL), (2, 1, 'Jon Aldous', '+43 1 234');
"""


def example(prompt: str) -> str:
    return render(prompt, **VALUES[prompt]).partition("An example")[2].partition("\n\n")[0]


def test_the_sql_tools_are_valid_and_fit_the_schema_of_answers(tmp_path: Path) -> None:
    database = tmp_path / "lighthouses.sqlite"
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(LIGHTHOUSES)
    items = first_records(example("sql_tools"))
    jsonschema.validate(items, answer_schemas.sql_tools(1, 5))
    tools = [read_sql_tool(item) for item in items]
    assert [verify_tool(tool, Image.read(database)) for tool in tools] == [[], []]
    assert any(tool.sql.startswith("SELECT") for tool in tools)
    assert any(tool.sql.startswith("UPDATE") for tool in tools)


def test_the_tool_specs_are_kept_and_chain() -> None:
    items = first_records(example("tool_specs"))
    jsonschema.validate(items, answer_schemas.tool_specs(0, 8))
    merged = merge((), items)
    assert len(merged.tools) == len(items) == 3
    assert merged.refused == ()


def test_the_output_schema_is_one() -> None:
    schema = first_json(example("output_schema_rules"), dict)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(schema, answer_schemas.OUTPUT_SCHEMA)


@pytest.mark.parametrize("prompt", ["sql_tools", "tool_specs", "tool_expansion", "output_schema_rules", "domain"])
def test_no_rule_reads_like_a_tool_and_no_parameter_leaks(prompt: str) -> None:
    """A small model made tools of imperative bullets ("Cover reading …") and took :customer_id from the rules."""
    text = render(prompt, **VALUES[prompt]).partition("The service:")[0]
    rules = text.partition("An example")[0]
    assert all(
        re.match(r'- "[a-z_]+"', line)
        for line in rules.splitlines()
        if line.startswith("- ") and "get_hall" not in line
    )
    assert not re.findall(r":[a-z]+_id\b", rules)
    known = set(TRAINING) | set(HELD_OUT)
    assert not known & set(re.findall(r"[a-z_]+", json.dumps(text)))


def test_the_databases_pass_their_own_checks() -> None:
    outline_text = example("database_outline").partition(":\n")[2]
    jsonschema.validate(json.loads(outline_text), synthesis_schemas.outline((3, 8), (5, 400)))
    outline = read_outline(outline_text)
    limits = LIMITS.model_copy(update={"tables": (3, 8), "columns": (2, 12)})
    assert outline_problems(outline, limits) == []
    text = example("database_table").partition(":\n")[2]
    jsonschema.validate(json.loads(text), synthesis_schemas.table(outline.tables[2], (2, 12), {}))
    table = read_table(text, outline.tables[2])
    assert table.name == "tours"
    parents = {other.name: TableSpec(**dict(other), columns=()) for other in outline.tables}
    assert table_problems(table, parents, limits) == []
    sentence = first_json(example("domain_sentence").partition(": ")[2], dict)
    assert read_sentence(json.dumps(sentence)) == sentence["sentence"]
