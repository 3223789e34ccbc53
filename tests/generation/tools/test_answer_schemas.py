"""The JSON Schemas of answers: the server's grammar engine takes them, good answers fit, and bad ones do not."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import jsonschema
import pytest

from generation.database.schema import read_schema
from generation.llm.contexts import ExpansionContext, OutputSchemaContext, QuestionsContext, SqlToolsContext
from generation.llm.parsing.json_text import first_json
from generation.scripted import schema_writer, tool_inventor, tool_maker
from generation.seeds.bundled import BundledSeeds
from generation.tools import answer_schemas
from generation.tools.answers import read_tools
from tests.generation.helpers.question_tools import GIVEN, SEED, spec

SCHEMAS: dict[str, dict[str, Any]] = {
    "domain": answer_schemas.DOMAIN,
    "questions": answer_schemas.questions(20),
    "tool_specs": answer_schemas.tool_specs(0, 8),
    "sql_tools": answer_schemas.sql_tools(1, 5),
    "output_schema": answer_schemas.OUTPUT_SCHEMA,
}
COLUMN = {"type": "object", "properties": {"id": {"type": "integer"}}}
SQL_TOOL = {
    "name": "get_hall",
    "description": "One hall.",
    "sql": "SELECT id FROM halls WHERE id = :id",
    "parameters": {
        "type": "object",
        "properties": {"id": {"type": "integer", "description": "hall"}},
        "required": ["id"],
    },
    "returns": {"type": "array", "items": COLUMN},
}
CHANGE = {"returns": {"type": "object", "properties": {"rows_affected": {"type": "integer"}}}}
NULLABLE = {"type": "object", "properties": {"note": {"type": ["string", "null"]}}}

ACCEPTED: list[tuple[str, Any]] = [
    ("domain", {"title": "hall rental", "description": "It rents out halls."}),
    ("questions", ["Is a hall free?"]),
    ("tool_specs", []),
    ("tool_specs", list(GIVEN)),
    ("tool_specs", [spec("list_halls")]),
    ("sql_tools", [SQL_TOOL, SQL_TOOL | CHANGE, SQL_TOOL | {"returns": {"type": "array", "items": NULLABLE}}]),
    ("output_schema", {"type": "array", "items": COLUMN | {"required": ["id"]}}),
    ("output_schema", NULLABLE | {"required": []}),
    ("output_schema", {"type": "object", "properties": {"halls": {"type": "array", "items": COLUMN}}}),
]
REFUSED: list[tuple[str, Any]] = [
    ("domain", {"title": "hall rental"}),
    ("questions", []),
    ("questions", ["Is a hall free?"] * 21),
    ("tool_specs", [spec("Cover Reading")]),
    ("tool_specs", [{"type": "function", "function": spec("get_hall")}]),
    ("tool_specs", [spec("get_hall") | {"required": ["id"]}]),
    ("tool_specs", [spec("get_hall") | {"parameters": {"customer_id": "INTEGER"}}]),
    ("sql_tools", []),
    ("sql_tools", [SQL_TOOL] * 6),
    ("sql_tools", [SQL_TOOL | {"name": "Later Tools"}]),
    ("sql_tools", [SQL_TOOL | {"returns": {"rows_affected": "INTEGER"}}]),
    ("sql_tools", [{key: value for key, value in SQL_TOOL.items() if key != "sql"}]),
    ("output_schema", {"type": "string"}),
    ("output_schema", {"returns": COLUMN}),
]


def fits(schema: dict[str, Any], answer: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(schema).is_valid(answer))


@pytest.mark.parametrize(("name", "answer"), ACCEPTED)
def test_good_answers_fit(name: str, answer: Any) -> None:
    assert fits(SCHEMAS[name], answer)


@pytest.mark.parametrize(("name", "answer"), REFUSED)
def test_bad_answers_do_not(name: str, answer: Any) -> None:
    assert not fits(SCHEMAS[name], answer)


def test_the_stand_ins_answers_fit(tmp_path: Path) -> None:
    rng = Random(0)
    for seed in BundledSeeds(tmp_path, ["gym", "museum"]).load():
        assert seed.database
        schema = read_schema(seed.database, seed.name)
        answer = tool_maker.answer(SqlToolsContext(seed.called, seed.description, schema, 5), rng)
        assert fits(SCHEMAS["sql_tools"], json.loads(answer))
    questions = tool_inventor.questions(QuestionsContext("flights", "", SEED.tools, 20), rng)
    assert fits(SCHEMAS["questions"], first_json(questions, list))
    specs = read_tools(tool_inventor.expansion(ExpansionContext("flights", "", SEED.tools, 8), rng))
    assert fits(SCHEMAS["tool_specs"], [tool.get("function", tool) for tool in specs])
    for tool in SEED.tools:
        assert fits(SCHEMAS["output_schema"], json.loads(schema_writer.answer(OutputSchemaContext(tool, {}), rng)))


@pytest.mark.parametrize("name", SCHEMAS)
def test_vllms_grammar_engine_enforces_them(name: str) -> None:
    """xgrammar, vLLM's default: it knows every keyword, and its grammar takes and refuses the same answers."""
    xgrammar = pytest.importorskip("xgrammar")
    testing = pytest.importorskip("xgrammar.testing")
    grammar = xgrammar.Grammar.from_json_schema(json.dumps(SCHEMAS[name]))
    for accepted, answers in ((True, ACCEPTED), (False, REFUSED)):
        for of, answer in answers:
            if of == name:
                assert testing._is_grammar_accept_string(grammar, json.dumps(answer)) is accepted, answer


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEMAS)
def test_vllm_knows_every_keyword(name: str) -> None:
    backend = pytest.importorskip("vllm.v1.structured_output.backend_xgrammar")
    assert not backend.has_xgrammar_unsupported_json_features(SCHEMAS[name])
