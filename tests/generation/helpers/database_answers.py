"""A model that answers the writer of databases with given texts, and valid answers for the boat hire."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from core.messages import AssistantMessage
from generation.llm.base import Completion, LLMError, Request
from generation.llm.contexts import LinkContext, OutlineContext, SentenceContext, TableContext
from tests.generation.helpers.database_specs import BOATS, HIRES, SAILORS

SENTENCE = "A harbour hires boats by the hour to sailors and keeps records of every hire."
OUTLINE: dict[str, Any] = {
    "title": "boat hire",
    "description": "It hires boats to sailors by the hour.",
    "tables": [
        {
            "name": "hires",
            "rows": 60,
            "refers_to": ["boats", "sailors", {"table": "sailors", "column": "skipper_id", "missing": 0.5}],
        },
        {"name": "boats", "rows": 12, "refers_to": []},
        {"name": "sailors", "rows": 30, "refers_to": [{"table": "sailors", "column": "taught_by_id"}]},
    ],
}


def table_answer(name: str) -> dict[str, Any]:
    """A table's columns as a model writes them: the fields of the generator next to those of the column."""
    table = next(table for table in (BOATS, SAILORS, HIRES) if table["name"] == name)
    columns = [
        {key: column[key] for key in column if key != "values"} | column["values"] for column in table["columns"]
    ]
    return {"columns": columns} | {key: table[key] for key in ("checks", "unique_together") if key in table}


Answer = Callable[[Request, int], Any]


class BoatHireLLM:
    """Gives valid answers, or what `answer` returns for a request and the number of its kind, from 0, unless that is
    None. `requests` are all of them; after `limit` requests no server answers."""

    name = "boat hire"

    def __init__(self, answer: Answer = lambda request, number: None, limit: int | None = None) -> None:
        self.answer = answer
        self.limit = limit
        self.requests: list[Request] = []

    async def complete(self, request: Request) -> Completion:
        if len(self.requests) == self.limit:
            raise LLMError("no server answers")
        number = sum(step(other) == step(request) for other in self.requests)
        self.requests.append(request)
        answer = self.answer(request, number)
        text = answer if isinstance(answer, str) else json.dumps(answer or _valid(request))
        return Completion(message=AssistantMessage(content=text), model=self.name)

    async def close(self) -> None:
        """Nothing to release."""


def step(request: Request) -> str:
    """Which step of a database a request is: "sentence", "outline", "link" or the name of a table."""
    match request.context:
        case SentenceContext():
            return "sentence"
        case OutlineContext():
            return "outline"
        case LinkContext():
            return "link"
        case TableContext(table=table):
            return table.name
    raise AssertionError(request.context)


def _valid(request: Request) -> Any:
    name = step(request)
    if isinstance(request.context, LinkContext):
        return {"link": request.context.links[0]}
    return {"sentence": {"sentence": SENTENCE}, "outline": OUTLINE}.get(name) or table_answer(name)
