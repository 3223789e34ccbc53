"""Stage 1 for relational databases: the LRM proposes tools with their SQL, and code keeps the valid ones."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from core.messages import UserMessage
from core.runs import sha256
from generation.database.image import Image
from generation.database.schema import DatabaseSchema, read_schema
from generation.database.sql_tools import SqlTool, verify_tool
from generation.llm.base import Completion, RejectedAnswerError, Request, UnusableAnswerError
from generation.llm.contexts import SqlToolsContext
from generation.llm.meter import Meter
from generation.llm.parsing.json_text import first_records
from generation.prompts import render
from generation.seeds.base import Seed
from generation.tools.toolset import Toolset

PROMPT = "sql_tools"
_MAX_SHOWN_PROBLEMS = 8  # reported to the model


async def make_sql_toolset(
    seed: Seed, database: Path, meter: Meter, max_tools: int, attempts: int, enough: int
) -> Toolset:
    """Request tools until one answer has `enough` valid ones; otherwise return the best answer, however few it has.

    `counts` has proposed (tools in all answers) and kept. Raises LLMError if no model answers, UserError if the
    database cannot be read.
    """
    maker = _SqlToolMaker(seed, meter, Image.read(database), read_schema(database, seed.name), max_tools, enough)
    best = await maker.make(attempts)
    return Toolset(
        domain=seed.name,
        title=seed.title,
        description=seed.description,
        tools=tuple(tool.spec for tool in best),
        engine="sql",
        statements={tool.spec.name: tool.sql for tool in best},
        database=database,
        database_sha256=sha256(database),
        refused=tuple(maker.refused),
        counts={"proposed": maker.proposed, "kept": len(best)},
    )


class _SqlToolMaker:
    """Requests the tools of one database: keeps the best answer so far, and what was refused in all answers."""

    def __init__(
        self, seed: Seed, meter: Meter, image: Image, schema: DatabaseSchema, max_tools: int, enough: int
    ) -> None:
        self.seed = seed
        self.meter = meter
        self.image = image
        self.schema = schema
        self.max_tools = max_tools
        self.enough = enough
        self.best: tuple[SqlTool, ...] = ()
        self.proposed = 0
        self.refused: list[str] = []

    async def make(self, attempts: int) -> tuple[SqlTool, ...]:
        try:
            return await self.meter.request(self._request, self._read, attempts)
        except UnusableAnswerError:
            return self.best  # fewer than requested: the caller decides whether they suffice

    def _request(self, attempt: int) -> Request:
        context = SqlToolsContext(self.seed.called, self.seed.description, self.schema, self.max_tools)
        return Request(
            role="tool_maker",
            messages=(UserMessage(content=render(PROMPT, **vars(context))),),
            key=f"tools/{self.seed.name}/{attempt}",
            affinity=f"tools/{self.seed.name}",
            context=context,
        )

    async def _read(self, completion: Completion) -> tuple[SqlTool, ...]:
        tools, problems = parse_tools(completion.message.content)
        if not tools:
            self.refused += problems
            raise ValueError("; ".join(problems[:_MAX_SHOWN_PROBLEMS]))
        valid: list[SqlTool] = []
        for tool in tools:
            tool_problems = verify_tool(tool, self.image)
            problems += [f"{tool.spec.name}: {problem}" for problem in tool_problems]
            if not tool_problems:
                valid.append(tool)
        self.proposed += len(tools)
        self.refused += problems
        self.best = max(self.best, tuple(valid[: self.max_tools]), key=len)
        if len(self.best) < self.enough:
            raise RejectedAnswerError(
                f"{len(valid)} tools are valid, {self.enough} are needed: {'; '.join(problems[:_MAX_SHOWN_PROBLEMS])}"
            )
        return self.best


def parse_tools(text: str) -> tuple[tuple[SqlTool, ...], list[str]]:
    """The tools in a model's answer, and what is wrong with the rest of it.

    Expects a JSON array of {name, description, parameters, returns, sql}; surrounding prose and code fences are
    ignored.
    """
    try:
        items = first_records(text)
    except ValueError:
        return (), ["the answer has no JSON array of tools"]
    tools: dict[str, SqlTool] = {}
    problems: list[str] = []
    for item in items:
        label = f"tool {item.get('name')!r}"
        try:
            spec = {key: value for key, value in item.items() if key != "sql"}
            tool = SqlTool.model_validate({"spec": spec, "sql": item.get("sql")})
        except ValidationError as error:
            first = error.errors()[0]
            problems.append(f"{label}: {'.'.join(str(part) for part in first['loc'])}: {first['msg']}")
            continue
        if tool.spec.name in tools:
            problems.append(f"{label}: the name is given twice")
        else:
            tools[tool.spec.name] = tool
    return tuple(tools.values()), problems
