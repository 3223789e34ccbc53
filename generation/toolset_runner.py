"""The toolset stages over all domains of a run: journalled, several at a time, in the seeds' order at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.journal import Journal, read_jsonl, write_jsonl
from core.runs import sha256
from core.settings import UserError
from generation.llm.base import LLM, LLMError, UnusableAnswerError
from generation.llm.meter import Meter
from generation.seeds.base import Seed
from generation.stages import ToolsetStage
from generation.tools.toolset import Toolset, ToolsetProvenance

_FAULT = "internal: "


@dataclass(frozen=True)
class ToolsetSource:
    """Where a toolset begins: a seed, or a toolset that was given."""

    toolset: Toolset
    seed: Seed | None


def from_seed(seed: Seed) -> ToolsetSource:
    """Its tools as they are; the stages do the rest."""
    toolset = Toolset(
        domain=seed.name,
        description=seed.description,
        tools=seed.tools,
        engine=seed.engine,
        database=seed.database,
        database_sha256=sha256(seed.database) if seed.database else None,
        rows=seed.rows,
        provenance=ToolsetProvenance(source=seed.source, licence=seed.licence),
    )
    return ToolsetSource(toolset, seed)


def from_file(path: Path) -> list[ToolsetSource]:
    """The toolsets of an earlier run, or of anybody's making. Raises UserError where two are of one domain, an SQL tool has no
    statement, or a database is missing or not the one it was."""
    toolsets = list(read_jsonl(path, Toolset))
    for toolset in toolsets:
        unsaid = sorted({tool.name for tool in toolset.tools} - toolset.statements.keys())
        if toolset.engine == "sql" and unsaid:
            raise UserError(f"{path}: {toolset.domain} has engine sql, but no statements for its tools {unsaid}")
        if toolset.database and not toolset.database.is_file():
            raise UserError(f"{path}: {toolset.database} is not the database of this toolset: there is no such file")
        changed = toolset.database and toolset.database_sha256 not in (None, sha256(toolset.database))
        if changed:
            raise UserError(f"{path}: {toolset.database} is not the database of this toolset (SHA-256 differs)")
    if len({toolset.domain for toolset in toolsets}) != len(toolsets):
        raise UserError(f"{path}: two toolsets are of one domain; expected one line each")
    return [ToolsetSource(toolset, None) for toolset in toolsets]


async def prepare(
    toolset_sources: Sequence[ToolsetSource],
    stages: Sequence[ToolsetStage],
    llm: LLM,
    path: Path,
    concurrency: int,
    on_toolset: Callable[[Toolset], None],
) -> list[Toolset]:
    """One toolset for each origin, written to `path` in their order; what an interrupted session finished is not made again.

    A domain of which too few tools hold has none, nor has one in which a stage fails; `refused` says why. Raises UserError where
    no model answers.
    """
    slots = asyncio.Semaphore(concurrency)
    with Journal(path.with_suffix(".journal.jsonl"), key=lambda record: str(record["domain"])) as journal:
        done = {toolset.domain: toolset for toolset in read_jsonl(journal.path, Toolset)}

        async def work(origin: ToolsetSource) -> None:
            domain = origin.toolset.domain
            if domain not in done:
                async with slots:
                    done[domain] = await _make(origin, stages, llm)
                journal.append(done[domain], domain)
            on_toolset(done[domain])

        try:
            async with asyncio.TaskGroup() as workers:
                for origin in toolset_sources:
                    workers.create_task(work(origin))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
    toolsets = [done[origin.toolset.domain] for origin in toolset_sources]
    write_jsonl(path, toolsets)
    return toolsets


def faults(path: Path) -> list[str]:
    """The domains of a run's toolsets.jsonl that are left out for a fault of ours."""
    toolsets = read_jsonl(path, Toolset)
    return [toolset.domain for toolset in toolsets if any(reason.startswith(_FAULT) for reason in toolset.refused)]


def _left_out(toolset: Toolset, why: str) -> Toolset:
    return toolset.model_copy(update={"tools": (), "statements": {}, "refused": (*toolset.refused, why)})


async def _make(origin: ToolsetSource, stages: Sequence[ToolsetStage], llm: LLM) -> Toolset:
    meter, toolset = Meter(llm), origin.toolset
    try:
        for stage in stages:
            toolset = await stage.toolset(toolset, origin.seed, meter)
    except LLMError as error:
        raise UserError(f"no tools for {toolset.domain}: the model cannot be reached ({error})") from None
    except UserError:
        raise
    except UnusableAnswerError as error:
        toolset = _left_out(toolset, str(error))
    except Exception as error:
        # A fault of ours in one domain must neither end the run nor vanish.
        toolset = _left_out(toolset, f"{_FAULT}{type(error).__name__}: {error}".encode(errors="replace").decode())
    if origin.seed is None and not meter.usage.requests:
        return toolset  # what was spent on it stands there
    return toolset.model_copy(update={"provenance": toolset.provenance | ToolsetProvenance(usage=meter.usage)})
