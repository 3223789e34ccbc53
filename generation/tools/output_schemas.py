"""Stage 2 of the paper: predicts what each tool of a domain returns.

One conversation per domain keeps every field to one type across tools.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from core.messages import AssistantMessage, Message, SystemMessage, ToolSpec, UserMessage
from generation.llm.base import Completion, RejectedAnswerError, Request, UnusableAnswerError
from generation.llm.contexts import OutputSchemaContext
from generation.llm.meter import Meter
from generation.llm.parsing.json_text import first_json
from generation.prompts import render
from generation.specs.entities import EntityRegistry, field_types, fields
from generation.specs.json_types import subschemas
from generation.specs.naming import verb
from generation.tools.answer_schemas import OUTPUT_SCHEMA
from generation.tools.toolset import MIN_TOOLS, Toolset

_WRAPPERS = ("returns", "output_schema", "schema")


async def predict_output_schemas(toolset: Toolset, meter: Meter, attempts: int) -> Toolset:
    """The toolset with `returns` for every tool; given output schemas stay unchanged.

    Counts: `schemas_predicted`; `schema_conflicts`, contradicting field types in answers; `schema_repairs`, answers
    sent back for any reason; `schemas_dropped`, tools left out because no answer was valid in `attempts` (`refused`
    says why); `given_conflicts`, contradictions among the given schemas, where the first type counts. With fewer than
    MIN_TOOLS left, the toolset has no tools. Raises LLMError if no model answers.
    """
    if all(tool.returns for tool in toolset.tools):
        return toolset
    conversation = Conversation(toolset, meter, attempts)
    tools_with_schema: list[ToolSpec] = []
    refused: list[str] = []
    for tool in toolset.tools:
        try:
            tools_with_schema.append(tool if tool.returns else await conversation.predict(tool))
        except UnusableAnswerError as error:
            refused.append(f"{tool.name}: no output schema: {error.problem}")
    if len(tools_with_schema) < MIN_TOOLS:
        refused.append(f"{len(tools_with_schema)} tools have an output schema, at least {MIN_TOOLS} are needed")
        tools_with_schema = []
    names = {tool.name for tool in tools_with_schema}
    return toolset.model_copy(
        update={
            "tools": tuple(tools_with_schema),
            "statements": {name: sql for name, sql in toolset.statements.items() if name in names},
            "refused": (*toolset.refused, *refused),
            "counts": toolset.counts | dict(conversation.counts),
        }
    )


class Conversation:
    """One multi-turn conversation about a toolset: the rules and all tools, then each tool with its valid answer.

    Refused answers leave no trace in it, so that each prompt extends the previous one.
    """

    def __init__(self, toolset: Toolset, meter: Meter, attempts: int) -> None:
        self.domain, tools = toolset.domain, toolset.tools
        self.meter = meter
        self.attempts = attempts
        self.entities = EntityRegistry()
        given = [(tool.name, tool.parameters) for tool in tools]
        given += [(tool.name, tool.returns) for tool in tools if tool.returns]
        conflicts = sum(len(self.entities.learn(name, schema)) for name, schema in given)
        self.counts = Counter(
            schemas_predicted=0, schema_conflicts=0, schema_repairs=0, schemas_dropped=0, given_conflicts=conflicts
        )
        rules = render(
            "output_schema_rules",
            domain=toolset.called,
            description=toolset.description,
            tools=tools,
            entities=self.entities.types,
        )
        self._messages: list[Message] = [SystemMessage(content=rules)]

    async def predict(self, tool: ToolSpec) -> ToolSpec:
        """The tool with `returns`. Raises UnusableAnswerError if no answer is valid, and LLMError."""
        question = _SchemaQuestion(self, tool)
        try:
            predicted = await self.meter.request(question.request, question.read, self.attempts)
        except UnusableAnswerError:
            self.counts["schemas_dropped"] += 1
            raise
        finally:
            self.counts["schema_repairs"] += question.repairs
        self.counts["schemas_predicted"] += 1
        assert predicted.returns is not None
        self.entities.learn(tool.name, predicted.returns)
        answer = json.dumps(predicted.returns, ensure_ascii=False)
        self._messages += [self.question(tool), AssistantMessage(content=answer)]
        return predicted

    def question(self, tool: ToolSpec) -> UserMessage:
        return UserMessage(content=render("output_schema", tool=tool))

    def with_question(self, question: UserMessage) -> tuple[Message, ...]:
        return (*self._messages, question)


class _SchemaQuestion:
    """Asks what one tool returns, until an answer is valid."""

    def __init__(self, conversation: Conversation, tool: ToolSpec) -> None:
        self.conversation = conversation
        self.tool = tool
        self.repairs = 0
        self._problems: tuple[str, ...] = ()

    def request(self, attempt: int) -> Request:
        self.repairs = attempt
        conversation = self.conversation
        return Request(
            role="schema_writer",
            messages=conversation.with_question(conversation.question(self.tool)),
            key=f"schemas/{conversation.domain}/{self.tool.name}/{attempt}",
            affinity=f"schemas/{conversation.domain}",
            context=OutputSchemaContext(self.tool, conversation.entities.types, self._problems),
            json_schema=OUTPUT_SCHEMA,
        )

    async def read(self, completion: Completion) -> ToolSpec:
        """The tool with the schema in the answer.

        Raises ValueError if it is not a schema, RejectedAnswerError if it breaks a rule or contradicts other tools.
        """
        self._problems = ()
        try:
            returns = _required_in_place(_unwrapped(first_json(completion.message.content, dict)))
            tool = ToolSpec.model_validate({**self.tool.model_dump(), "returns": returns})
            conflicts = self.conversation.entities.conflicts(self.tool.name, returns)
            self._problems = (*_problems(self.tool.name, returns), *map(str, conflicts))
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
        except RecursionError:
            raise ValueError("the schema is too deeply nested") from None
        self.conversation.counts["schema_conflicts"] += len(conflicts)
        if self._problems:
            raise RejectedAnswerError("; ".join(self._problems))
        return tool


def _unwrapped(answer: dict[str, Any]) -> dict[str, Any]:
    """The schema, even if the answer wraps it in another object."""
    wrapped = [answer[key] for key in _WRAPPERS if isinstance(answer.get(key), dict)]
    return answer if "type" in answer or not wrapped else dict(wrapped[0])


def _required_in_place(schema: Any) -> Any:
    """The schema with "required" next to "properties" wherever a model put the list among them."""
    if not isinstance(schema, dict):
        return schema
    placed = {key: _required_in_place(part) for key, part in schema.items()}
    properties = placed.get("properties")
    if isinstance(properties, dict) and isinstance(names := properties.get("required"), list):
        fields = {name: part for name, part in properties.items() if name != "required"}
        placed |= {"properties": fields, "required": [name for name in names if name in fields]}
    return placed


def _problems(tool: str, returns: dict[str, Any]) -> Iterator[str]:
    """Why this cannot be what the tool returns, apart from conflicts with other tools."""
    yield from _shape_problems(tool, returns)
    if any("$ref" in part for part in subschemas(returns)):
        yield "$ref is used: write the schema in full"
    for field in dict.fromkeys(fields(returns)):
        if not field.types:
            yield f"{field.name} has no type"


def _shape_problems(tool: str, returns: dict[str, Any]) -> Iterator[str]:
    kind, first = returns.get("type"), verb(tool)
    properties = returns.get("properties") or {}
    if kind not in ("object", "array"):
        yield f'"type" must be "object" or "array", not {json.dumps(kind)}'
    elif kind == "array" and first == "get":
        yield "a get_ tool returns one object, not an array"
    elif kind == "array" and not returns.get("items"):
        yield "the array does not say what its items are"
    elif kind == "object" and not properties:
        yield "the object has no properties"
    elif kind == "object" and first in ("search", "list") and not any(map(_is_array, properties.values())):
        yield f"a {first}_ tool returns an array, or an object that wraps one"


def _is_array(schema: dict[str, Any]) -> bool:
    return "array" in field_types(schema)
