"""Stage 1 for relational databases: the LRM proposes tools with their SQL, code keeps those that hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from core.messages import UserMessage
from core.records import Journal, read_jsonl
from core.runs import sha256
from core.settings import UserError
from generation.databases import DatabaseSchema, read_schema
from generation.llm.base import LLM, LLMError, Request, ToolMakerContext
from generation.prompts import prompt_ids, render
from generation.seeds.base import Seed
from generation.sql_tools import SqlTool, parse_tools, verify_tool
from generation.sqlite.image import Image
from generation.toolset import Toolset

MIN_TOOLS = 3
"""A domain with fewer tools that hold offers no multi-step task and is refused."""


async def make_toolset(llm: LLM, seed: Seed, max_tools: int, attempts: int) -> Toolset:
    """Ask for tools until enough of one answer hold; the best answer counts. Fewer than MIN_TOOLS leaves the toolset empty.
    Raises LLMError where no model answers, UserError where the database cannot be read."""
    schema = read_schema(seed.database, seed.name)
    image = Image.read(seed.database)
    best: tuple[SqlTool, ...] = ()
    refused: list[str] = []
    for attempt in range(attempts):
        tools, problems = parse_tools(await _ask(llm, seed, schema, max_tools, attempt))
        held = tuple(tool for tool in tools if not _problems(tool, image, problems))
        refused += problems
        best = max(best, held[:max_tools], key=len)
        if len(best) >= max(MIN_TOOLS, max_tools // 2):
            break
    return Toolset(
        domain=seed.name,
        description=seed.description,
        database=seed.database,
        database_sha256=sha256(seed.database),
        tools=best if len(best) >= MIN_TOOLS else (),
        refused=tuple(refused),
        provenance={
            "llm": llm.name,
            "prompt": prompt_ids()["sql_tools"],
            "source": seed.source,
            "licence": seed.licence,
        },
    )


def _problems(tool: SqlTool, image: Image, collected: list[str]) -> list[str]:
    found = verify_tool(tool, image)
    collected += [f"{tool.spec.name}: {problem}" for problem in found]
    return found


async def _ask(llm: LLM, seed: Seed, schema: DatabaseSchema, max_tools: int, attempt: int) -> str:
    request = Request(
        role="tool_maker",
        messages=(UserMessage(content=render("sql_tools", schema=schema, max_tools=max_tools)),),
        key=f"tools/{seed.name}/{attempt}",
        affinity=f"tools/{seed.name}",
        context=ToolMakerContext(schema, max_tools),
    )
    return (await llm.complete(request)).message.content


async def make_toolsets(
    llm: LLM, seeds: Sequence[Seed], path: Path, max_tools: int, attempts: int, on_toolset: Callable[[Toolset], None]
) -> list[Toolset]:
    """One toolset a seed, in the seeds' order, each written to `path` as soon as it stands; what is there is not made again.

    Domains of which too little holds are left out. Raises UserError for held-out seeds and where no
    model answers.
    """
    if held_out := [seed.name for seed in seeds if seed.held_out]:
        raise UserError(f"held-out databases are for evaluation and refused as training seeds: {', '.join(held_out)}")
    with Journal(path, key=lambda record: str(record["domain"])) as journal:
        for seed in seeds:
            if seed.name not in journal.keys:
                try:
                    journal.append(await make_toolset(llm, seed, max_tools, attempts), seed.name)
                except LLMError as error:
                    raise UserError(f"no tools for {seed.name}: the model cannot be reached ({error})") from None
    by_name = {toolset.domain: toolset for toolset in read_jsonl(path, Toolset)}
    toolsets = [by_name[seed.name] for seed in seeds]
    for toolset in toolsets:
        on_toolset(toolset)
    return [toolset for toolset in toolsets if toolset.tools]
