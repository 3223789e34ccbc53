"""The schemas of structured output: vLLM's grammars support all of them and admit the answers that are meant."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from core.schemas import schema_error
from generation.dialogue.user import turn_schema
from generation.environments.simulated.environment import answer_schema as tool_schema
from generation.llm.base import Completion, Request
from generation.specs.structured import structured
from generation.tasks.draft import answer_schema as draft_schema
from generation.validation.judge import answer_schema as judge_schema
from tests.generation.helpers.hives import HIVES
from tests.generation.helpers.judge_requests import INVALID, VALID, judge_answer
from tests.generation.helpers.judgments import TASK
from tests.generation.helpers.pipeline_runs import FinishedRun

xgrammar = pytest.importorskip("xgrammar")
ROW = {
    "type": "object",
    "properties": {
        "id": {"type": "integer", "minimum": 1, "multipleOf": 1},
        "on": {"type": "string", "format": "hostname", "pattern": "^x", "minLength": 1},
        "kind": {"const": "cat"},
        "notes": {"type": ["string", "null"]},
        "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        "extra": {"type": "object", "required": ["a"]},
    },
    "required": ["id", "missing"],
}
RETURNS: tuple[Any, ...] = (
    None,
    {"type": "object"},
    {"type": "array", "items": ROW, "contains": {"type": "object"}},
    {"oneOf": [ROW, {"type": "null"}]},
    {"type": "array", "items": {"$ref": "#/$defs/row"}, "$defs": {"row": ROW}},
    {"type": "object", "additionalProperties": {"type": "integer", "exclusiveMinimum": 0}},
    {"allOf": [{"type": "object"}]},
    {"type": "integer"},
)
FULL = {"id": 7, "on": "xyz", "kind": "cat", "notes": None, "tags": ["a", "b"], "extra": {"a": {"b": [1]}}}


@pytest.fixture(scope="module")
def admits() -> Callable[[dict[str, Any], str], bool]:
    """Whether vLLM's grammar for a schema admits a text."""
    end = 256
    vocabulary = [bytes([byte]) for byte in range(end)] + [b"<end>"]
    compiler = xgrammar.GrammarCompiler(xgrammar.TokenizerInfo(vocabulary, stop_token_ids=[end]))

    def admitted(schema: dict[str, Any], text: str) -> bool:
        matcher = xgrammar.GrammarMatcher(compiler.compile_json_schema(json.dumps(schema)))
        return bool(matcher.accept_string(text) and (matcher.is_terminated() or matcher.accept_token(end)))

    return admitted


@pytest.mark.slow  # imports vLLM
def test_vllm_supports_the_schemas_of_all_roles() -> None:
    backend = pytest.importorskip("vllm.v1.structured_output.backend_xgrammar")
    unsupported = backend.has_xgrammar_unsupported_json_features
    assert unsupported(ROW), "which a model may well write for a tool"
    for schema in (
        turn_schema(True),
        turn_schema(False),
        judge_schema(0),
        judge_schema(12),
        *map(tool_schema, RETURNS),
        draft_schema(HIVES),
    ):
        assert not unsupported(schema), schema


def test_a_user_cannot_end_in_the_first_turn(admits: Callable[[dict[str, Any], str], bool]) -> None:
    going = '{"user_message": "Hi", "is_task_complete": false}'
    over = going.replace("false", "true")
    assert admits(turn_schema(True), going)
    assert not admits(turn_schema(True), over)
    assert admits(turn_schema(False), going)
    assert admits(turn_schema(False), over)


def test_a_judge_gives_every_bullet_before_its_judgment(admits: Callable[[dict[str, Any], str], bool]) -> None:
    for text in (VALID, INVALID):
        assert admits(judge_schema(len(TASK.rubric.bullets)), text)
        assert not admits(judge_schema(len(TASK.rubric.bullets) - 1), text)
    assert not admits(judge_schema(10), VALID.replace('"Critical"', '"Vital"', 1))
    assert not admits(judge_schema(10), VALID.replace('"index": 1,', '"index": 11,', 1))
    assert not admits(judge_schema(10), judge_answer(TASK.rubric, blame="judge"))
    assert admits(judge_schema(0), '{"reasoning": "Fine.", "judgment": "valid", "blame": "none"}')


@pytest.mark.parametrize(
    ("returns", "value"),
    [
        (None, {"sky": {"blue": True}}),
        (None, [{"id": 1}]),
        ({"type": "object"}, {"a": [1, {"b": 2}]}),
        (RETURNS[2], [FULL, {"id": 8}]),
        (RETURNS[3], FULL),
        (RETURNS[4], [FULL]),
        (RETURNS[5], {"monday": 3, "tuesday": 4}),
        (RETURNS[6], {"a": 1}),
    ],
)
def test_a_tool_returns_its_value_or_an_error(
    returns: Any, value: Any, admits: Callable[[dict[str, Any], str], bool]
) -> None:
    schema = tool_schema(returns)
    for answer in (value, {"error": "no visit with id 7 exists"}):
        assert admits(schema, json.dumps(answer))
        assert schema_error(answer, schema) is None


def test_nothing_that_a_schema_admits_is_lost() -> None:
    assert schema_error(FULL, structured(ROW)) is schema_error({"id": 1}, structured(ROW)) is None
    assert schema_error({"id": "one"}, structured(ROW))
    assert schema_error({"id": 1, "kind": "dog"}, structured(ROW))
    assert structured(True) == {}


def test_the_answers_of_the_stand_in_fit_the_schemas_of_their_requests(
    executed: FinishedRun, simulated: dict[str, FinishedRun], admits: Callable[[dict[str, Any], str], bool]
) -> None:
    asked: dict[str, list[tuple[Request, Completion]]] = {}
    for request, completion in (*executed.log, *simulated["user_oriented"].log):
        asked.setdefault(request.role, []).append((request, completion))
    for role in ("user", "tool_simulator", "judge"):
        for request, completion in asked[role][:40]:
            assert request.json_schema, role
            assert admits(request.json_schema, completion.message.content), (role, completion.message.content)


DRAFT = {
    "goal": "The user wants to paint the queen of Old Oak blue.",
    "subgoals": ["paint the queen of Old Oak blue"],
    "plan": [
        {"tool": "find_hive", "arguments": {"nickname": "Old Oak"}, "subgoal": 0, "tell": ["mite_score"]},
        {"tool": "paint_queen", "arguments": {"hive_ref": "${0.hive_ref}", "paint": "blue"}, "subgoal": 0, "tell": []},
    ],
    "criteria": ["The queen is painted."],
    "checkpoints": [],
}


@pytest.mark.parametrize(
    ("call", "changes", "admitted"),
    [
        (0, {}, True),
        (1, {"arguments": {"hive_ref": 7, "paint": "blue"}}, True),
        (0, {"tool": "find_hives"}, False),
        (0, {"tool": "paint_queen"}, False),
        # Recorded: the parameters' JSON Schema as arguments.
        (0, {"arguments": {"type": "object", "properties": {"nickname": {"type": "string"}}}}, False),
        (1, {"arguments": {"hive_ref": "seven", "paint": "blue"}}, False),
        (1, {"arguments": {"paint": "blue"}}, False),
        (0, {"tell": ["rows affected"]}, False),
    ],
)
def test_a_drafts_calls_fit_their_tools(
    call: int, changes: dict[str, Any], admitted: bool, admits: Callable[[dict[str, Any], str], bool]
) -> None:
    plan = [planned | changes if number == call else planned for number, planned in enumerate(DRAFT["plan"])]
    assert admits(draft_schema(HIVES), json.dumps(DRAFT | {"plan": plan})) == admitted
