"""Stage 1 for relational databases: the LRM writes tools with their SQL in batches, and code keeps the valid ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.messages import UserMessage
from core.runs import sha256
from generation.database.dates import recent_day
from generation.database.image import Image
from generation.database.schema import DatabaseSchema, read_schema
from generation.database.sql_tools import SqlTool, verify_tool
from generation.llm.base import Completion, RejectedAnswerError, Request, UnusableAnswerError
from generation.llm.contexts import SqlToolsContext
from generation.llm.meter import Meter
from generation.prompts import render
from generation.seeds.base import Seed
from generation.tools.answer_schemas import sql_tools
from generation.tools.answers import read_sql_tool, read_tools
from generation.tools.coverage import uncovered
from generation.tools.toolset import MIN_TOOLS, Toolset

PROMPT = "sql_tools"
_MAX_SHOWN_PROBLEMS = 8  # reported to the model


async def make_sql_toolset(
    seed: Seed, database: Path, meter: Meter, max_tools: int, batch: int, attempts: int
) -> Toolset:
    """Requests tools, at most `batch` per answer, until `max_tools` are valid, the model has none to add, or `attempts`
    answers in a row added none. The valid tools of all answers are kept.

    `counts` has batches (that added tools), proposed (tools in all answers) and kept. Raises LLMError if no model
    answers, UserError if the database cannot be read.
    """
    schema = read_schema(database, seed.name)
    maker = _SqlToolMaker(seed, meter, Image.read(database), schema, max_tools, batch)
    await maker.make(attempts)
    tools = maker.tools
    return Toolset(
        domain=seed.name,
        title=seed.title,
        description=seed.description,
        now=seed.now or recent_day(maker.image),
        tools=tuple(tool.spec for tool in tools.values()),
        engine="sql",
        statements={name: tool.sql for name, tool in tools.items()},
        database=database,
        database_sha256=sha256(database),
        refused=tuple(maker.refused),
        left_out=maker.image.left_out,
        counts={"batches": maker.batches, "proposed": maker.proposed, "kept": len(tools)},
    )


class _SqlToolMaker:
    """Requests the tools of one database: keeps the valid ones of all answers, and what was refused in them."""

    def __init__(
        self, seed: Seed, meter: Meter, image: Image, schema: DatabaseSchema, max_tools: int, batch: int
    ) -> None:
        self.seed = seed
        self.meter = meter
        self.image = image
        self.schema = schema
        self.max_tools = max_tools
        self.batch = batch
        self.tools: dict[str, SqlTool] = {}
        self.requests = 0
        self.batches = 0
        self.proposed = 0
        self.refused: list[str] = []
        self._last_refused: list[str] = []

    async def make(self, attempts: int) -> None:
        while len(self.tools) < self.max_tools:
            refused_before = len(self.refused)
            try:
                added = await self.meter.request(self._request, self._read, attempts)
            except UnusableAnswerError as error:
                if len(self.refused) == refused_before:
                    self.refused.append(f"batch {self.batches + 1}: {error.problem}")
                return
            if not added:
                return
            self.batches += 1

    def _request(self, attempt: int) -> Request:
        key = f"tools/{self.seed.name}/{self.requests}"
        self.requests += 1
        limit = min(self.batch, self.max_tools - len(self.tools))
        tools = tuple(self.tools.values())
        context = SqlToolsContext(
            domain=self.seed.called,
            description=self.seed.description,
            schema=self.schema,
            limit=limit,
            tools=tuple(tool.spec for tool in tools),
            uncovered=uncovered(self.schema, tools),
            refused=tuple(self._last_refused[:_MAX_SHOWN_PROBLEMS]),
        )
        return Request(
            role="tool_maker",
            messages=(UserMessage(content=render(PROMPT, **vars(context))),),
            key=key,
            affinity=f"tools/{self.seed.name}",
            context=context,
            json_schema=sql_tools(0 if len(tools) >= MIN_TOOLS else 1, limit),
        )

    async def _read(self, completion: Completion) -> int:
        """How many tools the answer added; 0 only for an empty array.

        Raises ValueError if the answer cannot be read, RejectedAnswerError if none of its tools is valid and new.
        """
        items = read_tools(completion.message.content)
        if not items:
            if len(self.tools) < MIN_TOOLS:
                raise RejectedAnswerError(f"the array is empty, but at least {MIN_TOOLS} tools are needed")
            return 0
        self.proposed += len(items)
        before, problems = len(self.tools), []
        for item in items:
            if problem := self._add(item):
                problems.append(f"{item.get('name')}: {problem}")
        self.refused += problems
        if len(self.tools) == before:
            raise RejectedAnswerError("; ".join(problems[:_MAX_SHOWN_PROBLEMS]))
        self._last_refused = problems
        return len(self.tools) - before

    def _add(self, item: dict[str, Any]) -> str:
        """Adds the tool, unless the set is full. Returns why it cannot be used, or ""."""
        try:
            tool = read_sql_tool(item)
        except ValueError as error:
            return str(error)
        if tool.spec.name in self.tools:
            return "there is a tool of that name already"
        same = next((other.spec.name for other in self.tools.values() if _bare(other.sql) == _bare(tool.sql)), None)
        if same:
            return f"it does the same as {same}"
        if problems := verify_tool(tool, self.image):
            return "; ".join(problems)
        if len(self.tools) < self.max_tools:
            self.tools[tool.spec.name] = tool
        return ""


def _bare(sql: str) -> str:
    return " ".join(sql.split()).rstrip("; ")
