"""Stage 1 of the paper: a seed's domain becomes a toolset.

The LRM writes questions that need tools, the tools for each question, and the tools still missing. A database's tools
are made from its schema instead (`from_database`), and a seed's executable tools are kept unchanged.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from core.messages import ToolSpec, UserMessage
from core.runs import sha256
from core.settings import Settings, UserError
from generation.llm.base import Completion, RejectedAnswerError, Request, UnusableAnswerError
from generation.llm.contexts import ExpansionContext, QuestionsContext, ToolSpecsContext
from generation.llm.meter import Meter
from generation.prompts import prompt_ids, render
from generation.seeds.base import Seed
from generation.tools import answer_schemas, domain_names, from_database
from generation.tools.answers import Specs, read_questions, read_tools
from generation.tools.example_leaks import copies_example
from generation.tools.merging import merge, proposed_name, read_tool
from generation.tools.toolset import MIN_TOOLS, Toolset, ToolsetProvenance

_MAX_SPECS = 8
"""Tools for one question, at most."""


class ToolmakingSettings(Settings):
    """How a domain's tools are made."""

    max_tools: int = Field(ge=MIN_TOOLS, description="tools per domain, at most")
    batch: int = Field(
        ge=1, le=20, description="tools with SQL per request, at most: a long answer is more easily cut off"
    )
    attempts: int = Field(ge=1, description="requests in a row without a usable answer, until a prompt is given up")
    questions: int = Field(
        ge=0, description="questions that tools are invented for (paper: 20 to 30); 0 skips the step"
    )
    expansion: int = Field(ge=0, le=10, description="tools added for what is still missing, at most; 0 skips the step")


def refuse_held_out(seeds: Sequence[Seed]) -> None:
    """Raises UserError that names the held-out seeds."""
    if held_out := [seed.name for seed in seeds if seed.held_out]:
        raise UserError(f"held-out databases are for evaluation and refused as training seeds: {', '.join(held_out)}")


async def make_tools(seed: Seed, meter: Meter, settings: ToolmakingSettings) -> Toolset:
    """The toolset of a seed; without tools if fewer than MIN_TOOLS are valid, and `refused` says why.

    Raises LLMError if no model answers, UserError if the seed's database cannot be read.
    """
    prompts = [] if seed.description else [domain_names.PROMPT]
    seed = await domain_names.with_description(seed, meter, settings.attempts)
    if seed.database and seed.statements:
        toolset = _toolset(seed, seed.tools, (), {"given": len(seed.tools), "kept": len(seed.tools)})
    elif seed.database:
        toolset = await from_database.make_sql_toolset(
            seed, seed.database, meter, settings.max_tools, settings.batch, settings.attempts
        )
        prompts.append(from_database.PROMPT)
    elif seed.engine:
        # The engine executes exactly these; an invented tool could not run.
        toolset = _toolset(seed, seed.tools, (), {"given": len(seed.tools), "kept": len(seed.tools)})
    else:
        toolset = await _ToolInventor(seed, meter, settings).make()
        prompt_uses = {
            "questions": settings.questions,
            "tool_specs": settings.questions,
            "tool_expansion": settings.expansion,
        }
        prompts += [name for name, count in prompt_uses.items() if count]
    ids = prompt_ids()
    provenance = ToolsetProvenance(source=seed.source, licence=seed.licence)
    if prompts:
        provenance |= ToolsetProvenance(
            llm=meter.models.get("tool_maker", meter.name), prompts={name: ids[name] for name in prompts}
        )
    changes: dict[str, Any] = {"provenance": provenance}
    if len(toolset.tools) < MIN_TOOLS:
        why = f"{len(toolset.tools)} tools are valid, at least {MIN_TOOLS} are needed"
        changes |= {"tools": (), "user_tools": (), "statements": {}, "refused": (*toolset.refused, why)}
    return toolset.model_copy(update=changes)


def _toolset(seed: Seed, tools: tuple[ToolSpec, ...], refused: tuple[str, ...], counts: dict[str, int]) -> Toolset:
    return Toolset(
        domain=seed.name,
        title=seed.title,
        description=seed.description,
        now=seed.now,
        tools=tools,
        user_tools=seed.user_tools,
        statements=seed.statements,
        database=seed.database,
        database_sha256=sha256(seed.database) if seed.database else None,
        engine=seed.engine,
        policy=seed.policy,
        rows=seed.rows,
        refused=refused,
        counts=counts,
    )


class _ToolInventor:
    """Writes questions, specs and expansion for one seed and merges them. `refused` lists the unusable answers."""

    def __init__(self, seed: Seed, meter: Meter, settings: ToolmakingSettings) -> None:
        self.seed = seed
        self.meter = meter
        self.settings = settings
        self.refused: list[str] = []

    async def make(self) -> Toolset:
        questions = await self._questions() if self.settings.questions else []
        answers = await self._specs(questions)
        proposed = [spec for answer in answers for spec in answer]
        known = merge(self.seed.tools, proposed).tools
        expanded = await self._expansion(known) if self.settings.expansion else []
        merged = merge(self.seed.tools, [*proposed, *expanded], self.settings.max_tools)
        counts = {
            "questions": len(questions),
            "questions_without_tools": sum(not answer for answer in answers),
            "given": len(self.seed.tools),
            "proposed": len(proposed),
            "expanded": len(expanded),
        }
        return _toolset(self.seed, merged.tools, (*self.refused, *merged.refused), counts | merged.counts)

    async def _questions(self) -> list[str]:
        seed, wanted = self.seed, self.settings.questions

        def request(attempt: int) -> Request:
            context = QuestionsContext(seed.called, seed.description, seed.tools, wanted)
            return self._request(f"questions/{attempt}", "questions", context, answer_schemas.questions(wanted))

        async def read(completion: Completion) -> list[str]:
            return read_questions(completion.message.content)[:wanted]

        try:
            return await self.meter.request(request, read, self.settings.attempts)
        except UnusableAnswerError as error:
            self.refused.append(f"questions: {error.problem}")
            return []

    async def _specs(self, questions: Sequence[str]) -> list[Specs]:
        """Each question's tools, in the order of the questions; an empty list where no answer can be used."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._specs_for(i, question)) for i, question in enumerate(questions)]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        results = [task.result() for task in tasks]
        self.refused += [problem for _, problem in results if problem]
        return [specs for specs, _ in results]

    async def _specs_for(self, number: int, question: str) -> tuple[Specs, str]:
        def request(attempt: int) -> Request:
            context = ToolSpecsContext(self.seed.called, self.seed.description, question, self.seed.tools)
            schema = answer_schemas.tool_specs(1, _MAX_SPECS)
            return self._request(f"specs/{number}/{attempt}", "tool_specs", context, schema)

        try:
            return await self.meter.request(request, self._read_specs, self.settings.attempts), ""
        except UnusableAnswerError as error:
            return [], f"question {number + 1}: {error.problem}"

    async def _expansion(self, known: tuple[ToolSpec, ...]) -> Specs:
        limit = self.settings.expansion

        def request(attempt: int) -> Request:
            context = ExpansionContext(self.seed.called, self.seed.description, known, limit)
            return self._request(f"expansion/{attempt}", "tool_expansion", context, answer_schemas.tool_specs(0, limit))

        try:
            specs = await self.meter.request(request, self._read_specs, self.settings.attempts)
        except UnusableAnswerError as error:
            self.refused.append(f"expansion: {error.problem}")
            return []
        if len(specs) > limit:
            self.refused.append(f"expansion: {len(specs) - limit} tools more than the {limit} requested")
        return specs[:limit]

    async def _read_specs(self, completion: Completion) -> Specs:
        """The function specs in an answer without copies of the prompt's example, none if it is an empty list. Raises
        ValueError if it cannot be read, RejectedAnswerError if none of them is a tool of this service."""
        specs = read_tools(completion.message.content)
        usable: Specs = []
        problems = []
        for spec in specs:
            try:
                read_tool(spec)
            except ValueError as error:
                problems.append(f"{proposed_name(spec)}: {error}")
            else:
                if copies_example(json.dumps(spec), proposed_name(spec), self.seed):
                    problems.append(f"{proposed_name(spec)} is the example's: write what this service needs")
                    continue
            usable.append(spec)
        if problems and len(problems) == len(specs):
            raise RejectedAnswerError("; ".join(dict.fromkeys(problems)))
        return usable

    def _request(
        self,
        step: str,
        prompt: str,
        context: QuestionsContext | ToolSpecsContext | ExpansionContext,
        json_schema: dict[str, Any],
    ) -> Request:
        text = render(prompt, **vars(context))
        return Request(
            role="tool_maker",
            messages=(UserMessage(content=text),),
            key=f"tools/{self.seed.name}/{step}",
            affinity=f"tools/{self.seed.name}",
            context=context,
            json_schema=json_schema,
        )
