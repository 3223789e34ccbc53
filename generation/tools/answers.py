"""Reads tools and questions from a model's answer, in the ways models write them."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from generation.database.sql_tools import SqlTool
from generation.llm.parsing.json_text import first_json, first_records
from generation.specs.formats import parse_tool_spec
from generation.tools.answer_schemas import NAME

Specs = list[dict[str, Any]]
_SNAKE_CASE = re.compile(NAME)


def read_questions(text: str) -> list[str]:
    """The questions in a model's answer, without duplicates. Raises ValueError if it is not a JSON list of strings."""
    try:
        items = first_json(text, list)
    except ValueError:
        answer = first_json(text, dict)
        items = next((answer[name] for name in ("questions", "tasks") if isinstance(answer.get(name), list)), [answer])
    items = [item.get("question") if isinstance(item, dict) else item for item in items]
    questions = list(dict.fromkeys(item.strip() for item in items if isinstance(item, str) and item.strip()))
    if not questions:
        raise ValueError(f"expected a JSON list of strings, got: {text[:120]!r}")
    return questions


def read_tools(text: str) -> Specs:
    """The tools in a model's answer, flat or under "function"; empty if it is an empty list.

    Raises ValueError unless it is a JSON array of objects, or one tool.
    """
    with suppress(ValueError):
        answer: dict[str, Any] = first_json(text, dict)  # not one within an array
        if answer.keys() & {"name", "function"}:
            return [answer]
    with suppress(ValueError):
        return first_records(text)
    items = first_json(text, list)
    tools = [item for item in items if isinstance(item, dict)]
    if items and not tools:
        raise ValueError(f"expected a JSON array of tools, got: {text[:120]!r}")
    return tools


def read_sql_tool(item: dict[str, Any]) -> SqlTool:
    """One tool with its SQL. Raises ValueError with the reason if it is not a tool."""
    function = item["function"] if isinstance(item.get("function"), dict) else item
    name, sql = function.get("name"), item.get("sql", function.get("sql"))
    if not isinstance(name, str) or not _SNAKE_CASE.fullmatch(name):
        raise ValueError('"name" is not snake_case')
    if not isinstance(sql, str) or not sql.strip():
        raise ValueError('"sql" is missing')
    return SqlTool(spec=parse_tool_spec(item), sql=sql)
