"""Runs the toolset stages on all domains of a run: concurrently, journalled, written in the order of the seeds."""

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

_INTERNAL = "internal: "


@dataclass(frozen=True)
class ToolsetSource:
    """The start of one domain's toolset: a seed, or an existing toolset (seed None)."""

    toolset: Toolset
    seed: Seed | None


def source_from_seed(seed: Seed) -> ToolsetSource:
    """The seed's tools, unchanged; the stages add the rest."""
    toolset = Toolset(
        domain=seed.name,
        title=seed.title,
        description=seed.description,
        now=seed.now,
        tools=seed.tools,
        user_tools=seed.user_tools,
        statements=seed.statements,
        engine=seed.engine,
        policy=seed.policy,
        database=seed.database,
        database_sha256=sha256(seed.database) if seed.database else None,
        rows=seed.rows,
        provenance=ToolsetProvenance(source=seed.source, licence=seed.licence),
    )
    return ToolsetSource(toolset, seed)


def sources_from_file(path: Path) -> list[ToolsetSource]:
    """The toolsets in a toolsets.jsonl, of an earlier run or written by hand. Raises UserError if two have the same
    domain, an SQL tool has no statement, or a database is missing or has changed."""
    toolsets = [_with_database_found(path, toolset) for toolset in read_jsonl(path, Toolset)]
    for toolset in toolsets:
        missing = sorted({tool.name for tool in (*toolset.tools, *toolset.user_tools)} - toolset.statements.keys())
        if toolset.engine == "sql" and missing:
            raise UserError(f"{path}: {toolset.domain} has engine sql, but no statements for its tools {missing}")
        if toolset.database and not toolset.database.is_file():
            raise UserError(f"{path}: {toolset.database} is not the database of this toolset: no such file")
        if toolset.database and toolset.database_sha256 not in (None, sha256(toolset.database)):
            raise UserError(f"{path}: {toolset.database} is not the database of this toolset (SHA-256 differs)")
    if len({toolset.domain for toolset in toolsets}) != len(toolsets):
        raise UserError(f"{path}: two toolsets have the same domain; expected one line per domain")
    return [ToolsetSource(toolset, None) for toolset in toolsets]


def _with_database_found(path: Path, toolset: Toolset) -> Toolset:
    """The toolset with a relative path to its database taken from the toolsets' own folder, unless the file lies in the
    current directory alone."""
    if not toolset.database:
        return toolset
    next_to_file = path.parent / toolset.database
    if toolset.database.is_file() and not next_to_file.is_file():
        return toolset
    return toolset.model_copy(update={"database": next_to_file})


async def run_toolset_stages(
    toolset_sources: Sequence[ToolsetSource],
    stages: Sequence[ToolsetStage],
    llm: LLM,
    path: Path,
    concurrency: int,
    on_toolset: Callable[[Toolset], None],
    on_meter: Callable[[str, Meter], None] = lambda domain, meter: None,
) -> list[Toolset]:
    """One toolset per source, written to `path` in their order. Toolsets that an interrupted session finished are kept.
    `on_meter` gets each domain and its meter before the first request.

    A domain gets no tools if too few of them are valid or a stage fails; `refused` says why. Raises UserError if the
    model cannot be reached.
    """
    slots = asyncio.Semaphore(concurrency)
    with Journal(path.with_suffix(".journal.jsonl"), key=lambda record: str(record["domain"])) as journal:
        done = {toolset.domain: toolset for toolset in read_jsonl(journal.path, Toolset)}

        async def work(source: ToolsetSource) -> None:
            domain = source.toolset.domain
            if domain not in done:
                async with slots:
                    meter = Meter(llm)
                    on_meter(domain, meter)
                    done[domain] = await _run_stages(source, stages, meter)
                journal.append(done[domain], domain)
            on_toolset(done[domain])

        try:
            async with asyncio.TaskGroup() as workers:
                for source in toolset_sources:
                    workers.create_task(work(source))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
    toolsets = [done[source.toolset.domain] for source in toolset_sources]
    write_jsonl(path, toolsets)
    return toolsets


def failed_domains(path: Path) -> list[str]:
    """The domains of a run's toolsets.jsonl that an internal error left without tools."""
    toolsets = read_jsonl(path, Toolset)
    return [toolset.domain for toolset in toolsets if any(reason.startswith(_INTERNAL) for reason in toolset.refused)]


def _left_out(toolset: Toolset, why: str) -> Toolset:
    return toolset.model_copy(
        update={"tools": (), "user_tools": (), "statements": {}, "refused": (*toolset.refused, why)}
    )


async def _run_stages(source: ToolsetSource, stages: Sequence[ToolsetStage], meter: Meter) -> Toolset:
    toolset = source.toolset
    try:
        for stage in stages:
            toolset = await stage.toolset(toolset, source.seed, meter)
    except LLMError as error:
        raise UserError(f"no tools for {toolset.domain}: the model cannot be reached ({error})") from None
    except UserError:
        raise
    except UnusableAnswerError as error:
        toolset = _left_out(toolset, str(error))
    except Exception as error:
        # An internal error in one domain must neither end the run nor vanish.
        toolset = _left_out(toolset, f"{_INTERNAL}{type(error).__name__}: {error}".encode(errors="replace").decode())
    toolset = toolset.model_copy(update={"pipelines": source.toolset.pipelines})
    if source.seed is None and not meter.usage.requests:
        return toolset  # its provenance has the usage of the earlier run
    others = {role: model for role, model in meter.models.items() if model not in ("", toolset.provenance.llm)}
    provenance = toolset.provenance | ToolsetProvenance(usage=meter.usage)
    if others:
        provenance |= ToolsetProvenance(llms=provenance.llms | others)
    return toolset.model_copy(update={"provenance": provenance})
