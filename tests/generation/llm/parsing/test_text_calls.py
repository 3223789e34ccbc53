"""A tool call or a tool's result never reaches the user as an answer; prose with braces and JSON does.

Answers marked "recorded" are quoted from Qwen2.5-Coder-0.5B-Instruct.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from core.messages import ToolSpec
from generation.dialogue.agent import check_answer
from generation.llm.base import Completion
from generation.llm.parsing.completion import parse_completion
from generation.llm.parsing.text_calls import text_call


def tool(name: str, *required: str, **properties: str) -> ToolSpec:
    types = {field: {"type": kind} for field, kind in properties.items()}
    parameters = {"type": "object", "properties": types, "required": list(required), "additionalProperties": False}
    return ToolSpec(name=name, description="d", parameters=parameters)


TOOLS = (
    tool("list_holds_by_book_id", "book_id", book_id="integer"),
    tool(
        *("update_doctor_years_experience", "doctor_id", "years_experience"),
        doctor_id="integer",
        years_experience="integer",
    ),
    tool("update_film_genre", "film_id", "genre", film_id="integer", genre="string"),
    tool("create_depot", depot_name="string", city="string", loading_docks="integer"),
    tool("count_repair_jobs_by_job_status", "job_status", job_status="string"),
    tool("list_screenings_by_film_id", "film_id", film_id="integer"),
    tool("top_shipments_by_price", "limit", limit="integer"),
    tool("book", "title", title="string"),
)


def answer(content: str) -> Completion:
    body = {"choices": [{"message": {"role": "assistant", "content": content}}]}
    return parse_completion(body, 0.0, TOOLS)


@pytest.mark.parametrize(
    ("content", "name", "arguments"),
    [
        (  # recorded
            '{"name": "update_doctor_years_experience", "arguments": {"doctor_id": 1, "years_experience": 5}}',
            "update_doctor_years_experience",
            {"doctor_id": 1, "years_experience": 5},
        ),
        (  # recorded
            '```json\n{\n  "name": "list_holds_by_book_id",\n  "arguments": {\n    "book_id": 1\n  }\n}\n```',
            "list_holds_by_book_id",
            {"book_id": 1},
        ),
        (  # recorded
            '```json\n{\n  "name": "create_depot",\n  "arguments": {\n    "depot_name": "Hamiltonburgh South Depot",\n'
            '    "city": "Lewismouth",\n    "loading_docks": 24\n  }\n}\n```',
            "create_depot",
            {"depot_name": "Hamiltonburgh South Depot", "city": "Lewismouth", "loading_docks": 24},
        ),
        ('```\n{"name": "book", "parameters": {"title": "Emma"}}```', "book", {"title": "Emma"}),
        ('```tool_call\n{"function": {"name": "book", "arguments": "{}"}}\n```', "book", {}),
    ],
)
def test_one_clear_call_of_a_declared_tool_is_read_as_the_call(
    content: str, name: str, arguments: dict[str, Any]
) -> None:
    completion = answer(content)
    assert [(call.name, call.parsed()) for call in completion.message.tool_calls or ()] == [(name, arguments)]
    assert completion.message.content == ""
    assert completion.flaws == ("repaired",)


UPDATE = '{"name": "update_film_genre", "arguments": {"film_id": 37, "genre": "drama"}}'
CALL, JSON = "a tool call written as text", "JSON instead of words"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ('{"rows_affected": 1}', JSON),  # recorded, twelve times
        (f'{UPDATE}\n{{"rows_affected": 1}}', CALL),  # recorded: the call and an invented result
        (  # recorded
            '{"name": "count_repair_jobs_by_job_status", "arguments": {"job_status": "waiting for parts"}}\n'
            '{"number_of_repair_jobs": 12}',
            CALL,
        ),
        (  # recorded: the result as arguments, brackets left open
            '{"name": "top_shipments_by_price", "arguments": [{"shipment_id": 88, "price": 2148.0}, '
            '{"shipment_id": 70, "price": 2134.0}]',
            CALL,
        ),
        (  # recorded
            '{"name": "list_screenings_by_film_id", "arguments": {"film_id": 22}}\n'
            '{"error": "unknown argument \'ticket_price\'; expected: film_id"}',
            CALL,
        ),
        (  # recorded, of an undeclared tool
            '{"name": "top_films_by_runtime_minutes", "arguments": {"limit": 2}}\n{"error": "unknown argument"}',
            CALL,
        ),
        (  # recorded: no identifier, and it goes on
            '{\n"name": "Get book", "arguments": {\n    "book_id": "A Borrowed Cartographer"\n}}\nDescribe the changes.',
            CALL,
        ),
        ('{"name": "Get book", "arguments": {"book_id": "Emma"', CALL),
        ("The price is 3.<|endoftext|>Describe the changes.", "the markup <|endoftext|>"),  # recorded
        ("Hello<end_of_turn>", "the markup <end_of_turn>"),
        ("[/INST] Hello", "the markup [/INST]"),
        ("<｜end▁of▁sentence｜>", "the markup <｜end▁of▁sentence｜>"),
        ('{"name": "fetch_weather", "arguments": {"city": "Oslo"}}', CALL),
        (f"[{UPDATE}]", CALL),
        (f"```json\n[{UPDATE}, {UPDATE}]\n```", CALL),
        (f"{UPDATE}\n{UPDATE}", CALL),
        (f"{UPDATE};{UPDATE}", CALL),
        (f"I will change it now.\n```json\n{UPDATE}\n```", CALL),
        (f"{UPDATE}\n\nThe genre is changed.", CALL),
        (UPDATE.replace('"', "'"), CALL),
        (UPDATE[:-3], CALL),
        ('{"tool": "update_film_genre", "input": {"film_id": 37}}', CALL),
        ('{"type": "function", "function": {"name": "f", "parameters": {"a": 1}}} Done.', CALL),
        ('{"update_film_genre": {"film_id": 37, "genre": "drama"}}', CALL),
        ('Let me see: update_film_genre(film_id=37, genre="drama")', CALL),
        ("```python\nlist_holds_by_book_id(1)\n```", CALL),
        ("functions.list_holds_by_book_id({})", CALL),
        ('book(title="Emma")', CALL),
        ('Thought: I need it.\nAction: update_film_genre\nAction Input: {"film_id": 37}', CALL),
        ('```json\n[{"hold_id": 1}, {"hold_id": 2}]\n```', JSON),
        ('{"a": 1}\n{"b": 2}', JSON),
        ("[]", JSON),
        ("```tool_code\nprint(1)\n```", "the markup ```tool_code"),
        ('<function_call>{"a": 1}</function_call>', "the markup <function_call>"),
    ],
)
def test_other_calls_and_results_are_refused(content: str, what: str) -> None:
    completion = answer(content)
    assert not completion.message.tool_calls
    with pytest.raises(ValueError, match=re.escape(what)):
        check_answer(completion, TOOLS)


@pytest.mark.parametrize(
    "content",
    [
        "Done: the genre of film 37 is now drama.",
        'The setting is {"theme": "dark", "name": "Night"}; shall I change it?',
        'Here is your record:\n```json\n{"film_id": 37, "genre": "drama"}\n```\nIs it what you expected?',
        "I found 2 book(s) {both by Austen} [1].",
        "Use the set notation {a, b} or an f-string like {name}.",
        "Your seats: [1, 2, 3]. The total is 40 (book by Friday).",
        'Saved as {"name": "Ada Byron", "parameters": {"member_id": 7}}.',
        "The arguments of both sides: {for: 3, against: 4}.",
        'Their case is {"arguments": ["cost", "time"]}.',
        "If a < b | c > d holds, a|b is set.",
        "I cannot list_holds for you, but here are the options (by title).",
    ],
)
def test_prose_with_braces_and_json_passes(content: str) -> None:
    completion = answer(content)
    assert completion.message.content == content
    check_answer(completion, TOOLS)


def test_deep_and_endless_brackets_are_read_in_time() -> None:
    for text in ("`" * 50_000 + "{}!", "[" * 50_000, '{"a":' * 20_000, '{"name": "x", "arguments": ' * 5_000):
        text_call(text, TOOLS)
