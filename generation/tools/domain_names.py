"""Title and description of a domain whose source gives none: the model writes them, else they are derived from names.

They complete "You are the assistant of the {title} service. {description}" in every prompt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from core.messages import ToolSpec, UserMessage
from generation.database.schema import DatabaseSchema, read_schema
from generation.llm.base import Completion, RejectedAnswerError, Request, UnusableAnswerError
from generation.llm.contexts import DomainContext
from generation.llm.meter import Meter
from generation.llm.parsing.json_text import first_json
from generation.prompts import render
from generation.seeds.base import Seed
from generation.specs.titles import description_of, readable, table_nouns, tool_nouns
from generation.tools.answer_schemas import DOMAIN
from generation.tools.example_leaks import copies_example

PROMPT = "domain"
_MAX_TOOLS = 40  # shown to the model
_MAX_TITLE = 5  # words
_MAX_DESCRIPTION = 400  # characters


async def with_description(seed: Seed, meter: Meter, attempts: int) -> Seed:
    """The seed with title and description; one that has a description is returned unchanged.

    Raises LLMError if no model answers, UserError if the seed's database cannot be read.
    """
    if seed.description:
        return seed
    schema = read_schema(seed.database, seed.name) if seed.database else None
    context = DomainContext(readable(seed.name), seed.tools[:_MAX_TOOLS], schema)

    def request(attempt: int) -> Request:
        return Request(
            role="tool_maker",
            messages=(UserMessage(content=render(PROMPT, **vars(context))),),
            key=f"tools/{seed.name}/domain/{attempt}",
            affinity=f"tools/{seed.name}",
            context=context,
            json_schema=DOMAIN,
        )

    async def read(completion: Completion) -> tuple[str, str]:
        title, description = read_domain(completion.message.content, seed.tools)
        if schema is None and copies_example(f"{title} {description}", "", seed):
            raise RejectedAnswerError("that is the example, not this service: say what these functions are for")
        return title, description

    try:
        title, description = await meter.request(request, read, attempts)
    except UnusableAnswerError:
        title, description = seed.called, _derived_description(seed.tools, schema)
    return seed.model_copy(update={"title": title, "description": description})


def _derived_description(tools: Sequence[ToolSpec], schema: DatabaseSchema | None) -> str:
    return description_of(table_nouns(table.name for table in schema.tables) if schema else tool_nouns(tools))


def read_domain(text: str, tools: Sequence[ToolSpec]) -> tuple[str, str]:
    """Title and description in a model's answer, the description as sentences.

    Raises ValueError without a JSON object, RejectedAnswerError for one that does not read well in a prompt.
    """
    answer = first_json(text, dict)
    title, description = (" ".join(str(answer.get(key) or "").split()) for key in ("title", "description"))
    title = re.sub(r"^(?:the|an?) | service$", "", title.strip(".\"' "), flags=re.I)
    if len(title.split()) > _MAX_TITLE or "_" in title or not readable(title):
        raise RejectedAnswerError(f'"title" must be one to four words such as "lighthouse tours", not {title[:120]!r}')
    if len(description.split()) < 3 or len(description) > _MAX_DESCRIPTION:
        raise RejectedAnswerError(f'"description" must be one or two sentences, not {description[:120]!r}')
    if named := next((tool.name for tool in tools if "_" in tool.name and tool.name in description), None):
        raise RejectedAnswerError(f'"description" must not name a tool: {named}')
    return title, description[:1].upper() + description[1:] + ("" if description[-1] in ".!?" else ".")
