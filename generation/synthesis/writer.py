"""One database: the model writes sentence, outline and tables one after the other, and code checks each of them.

Small steps keep answers short enough for small models and complaints precise: a table that is refused is written again
while the others stay.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeVar

import apsw
from pydantic import Field

from core.messages import Frozen, UserMessage
from core.settings import Settings
from core.usage import Usage
from generation.database.spec import DatabaseSpec, Outline, TableOutline, TableSpec
from generation.llm.base import Completion, RejectedAnswerError, Request, UnusableAnswerError
from generation.llm.contexts import Context, LinkContext, OutlineContext, SentenceContext, TableContext
from generation.llm.meter import Meter
from generation.prompts import render
from generation.seeds.base import Seed
from generation.synthesis import answer_schemas
from generation.synthesis.likeness import SchemaNames, most_alike, names_of
from generation.synthesis.limits import Limits
from generation.synthesis.links import possible_links
from generation.synthesis.outline_checks import outline_problems, parents_first, separate_problems
from generation.synthesis.outline_corrections import corrected
from generation.synthesis.problems import Kind, Problem
from generation.synthesis.reading import read_link, read_outline, read_sentence, read_table
from generation.synthesis.sqlite_file import write_database, written_problems
from generation.synthesis.table_checks import table_problems
from generation.synthesis.table_corrections import usable_part
from generation.tools.example_leaks import copies_example

T = TypeVar("T")

_MAX_SHOWN_PROBLEMS = 6
"""Reported to the model at once."""


class RepairSettings(Settings):
    """How often a refused answer is written again."""

    attempts: int = Field(ge=1, description="answers for each sentence, outline and table at most")
    outlines: int = Field(ge=1, description="outlines at most, the next one after a database as a whole was refused")


class Idea(Frozen):
    """What a database starts from: its number in the run, its `domain`, and a sentence, "" if the model writes it."""

    number: int
    domain: str
    sentence: str = ""


class Candidate(Frozen):
    """A database as it was written: `spec` if it passed all checks, else the `kind` and the reason of its refusal.

    `refused` lists every complaint about an answer on the way, `left_out` what could not be used of the outline and
    of tables; `models` names the models by role.
    """

    number: int
    domain: str
    sentence: str
    status: Literal["accepted", "rejected"]
    spec: DatabaseSpec | None = None
    kind: Kind | None = None
    reason: str = ""
    refused: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    usage: Usage = Usage()
    models: dict[str, str] = Field(default_factory=dict)


class _RefusedError(Exception):
    """A database that cannot be used, as a whole or because a step failed."""

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


async def write_candidate(
    idea: Idea, meter: Meter, limits: Limits, repairs: RepairSettings, known: Sequence[SchemaNames], seed: int
) -> Candidate:
    """The database of an idea, accepted or rejected with the reason. Raises LLMError if no model answers."""
    writer = _Writer(idea, meter, limits, repairs, known, seed, idea.sentence)
    spec, refusal = None, None
    try:
        spec = await writer.write()
    except _RefusedError as error:
        refusal = error
    return Candidate(
        number=idea.number,
        domain=idea.domain,
        sentence=writer.sentence,
        status="accepted" if spec else "rejected",
        spec=spec,
        kind=refusal.kind if refusal else None,
        reason=str(refusal or ""),
        refused=tuple(writer.refused),
        left_out=tuple(writer.left_out),
        usage=meter.usage,
        models={str(role): model for role, model in meter.models.items()},
    )


@dataclass
class _Writer:
    idea: Idea
    meter: Meter
    limits: Limits
    repairs: RepairSettings
    known: Sequence[SchemaNames]
    seed: int
    sentence: str
    refused: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    _kind: Kind = "unreadable"  # of the last complaint
    _requests: int = 0

    async def write(self) -> DatabaseSpec:
        """Raises _RefusedError with the reason of the last outline's refusal."""
        if not self.sentence:
            self.sentence = await self._ask(
                "domain_sentence", SentenceContext(self.idea.domain), answer_schemas.SENTENCE, self._read_sentence
            )
        reasons: list[str] = []
        while True:
            try:
                return await self._write_database(tuple(reasons))
            except _RefusedError as error:
                reasons.append(str(error))
                if len(reasons) == self.repairs.outlines:
                    raise

    async def _write_database(self, refused: tuple[str, ...]) -> DatabaseSpec:
        limits = self.limits
        self.left_out = []
        context = OutlineContext(self.sentence, limits.tables, limits.rows, refused)
        schema = answer_schemas.outline(limits.tables, limits.rows)
        outline = await self._ask("database_outline", context, schema, self._read_outline)
        spec = await self._write_tables(await self._join(outline))
        alike, other = most_alike(names_of(spec, "this database"), self.known)
        if other and alike >= limits.likeness:
            self.refused.append(f"its tables and columns are {alike:.0%} alike {other.of}; design something else")
            raise _RefusedError("copy", self.refused[-1])
        return spec

    async def _join(self, outline: Outline) -> Outline:
        """The outline, parents first, with the references that it lacks; the model chooses them one by one."""
        while links := possible_links(outline):
            context = LinkContext(self.sentence, outline, tuple(links))
            link = await self._ask(
                "database_link", context, answer_schemas.link(list(links)), lambda text: read_link(text, links)
            )
            outline = links[link]
        if problems := outline_problems(outline, self.limits):
            raise _RefusedError(problems[0].kind, problems[0].text)
        ordered = parents_first(outline)
        assert ordered, "a valid outline has no circles"
        return ordered

    async def _write_tables(self, outline: Outline) -> DatabaseSpec:
        """The tables that can be written; the others are left out together with references to them."""
        done: dict[str, TableSpec] = {}
        failures: list[_RefusedError] = []
        for planned in outline.tables:
            usable = tuple(r for r in planned.references if r.table in done or r.table == planned.name)
            table = planned.model_copy(update={"references": usable})
            try:
                done[table.name] = await self._write_table(table, outline, done)
            except _RefusedError as error:
                failures.append(error)
                self.left_out.append(f"{table.name}: {error}")
        remaining = outline.model_copy(update={"tables": tuple(done.values())})
        if failures and (problems := outline_problems(remaining, self.limits)):
            raise _RefusedError(failures[-1].kind, f"{problems[0].text}; left out: {'; '.join(self.left_out)}")
        return DatabaseSpec(title=outline.title, description=outline.description, tables=tuple(done.values()))

    async def _write_table(self, table: TableOutline, outline: Outline, done: dict[str, TableSpec]) -> TableSpec:
        """A table whose parents are `done`; of one that is not repaired, the part that can be used."""
        others = [reference for reference in table.references if reference.table in done]
        parents = tuple(done[name] for name in dict.fromkeys(reference.table for reference in others))
        context = TableContext(self.sentence, outline, table, parents, self.limits.columns)
        copied = {r.column: [column.name for column in done[r.table].columns] for r in others}
        schema = answer_schemas.table(table, self.limits.columns, copied, 0 if table.references else table.rows)
        drafts: list[TableSpec] = []

        def read(text: str) -> TableSpec:
            drafts.append(read_table(text, table))
            self._refuse_if(self._table_problems(drafts[-1], outline, done))
            return drafts[-1]

        try:
            return await self._ask("database_table", context, schema, read)
        except _RefusedError:
            for draft in reversed(drafts):
                usable = usable_part(draft, lambda part: self._table_problems(part, outline, done), self.limits)
                if usable:
                    self.left_out += usable[1]
                    return usable[0]
            raise

    async def _ask(self, prompt: str, context: Context, schema: dict[str, Any], read: Callable[[str], T]) -> T:
        """One step, with its repairs. Raises _RefusedError if no answer can be used."""

        def request(attempt: int) -> Request:
            key = f"databases/{self.idea.number}/{self._requests}"
            self._requests += 1
            self._kind = "unreadable"  # unless the answer can be read and fails a check
            return Request(
                role="tool_maker",
                messages=(UserMessage(content=render(prompt, **vars(context))),),
                key=key,
                affinity=f"databases/{self.idea.number}",
                context=context,
                json_schema=schema,
            )

        try:
            return await self.meter.request(request, self._reader(read), self.repairs.attempts)
        except UnusableAnswerError as error:
            raise _RefusedError(self._kind, error.problem) from None

    def _reader(self, read: Callable[[str], T]) -> Callable[[Completion], Awaitable[T]]:
        async def reader(completion: Completion) -> T:
            try:
                return read(completion.message.content)
            except ValueError as error:
                self.refused.append(str(error))
                raise

        return reader

    def _read_sentence(self, text: str) -> str:
        sentence = read_sentence(text)
        self._refuse_example(sentence, self.idea.domain, "that is the example; think of another service")
        return sentence

    def _read_outline(self, text: str) -> Outline:
        outline, left_out = corrected(read_outline(text), self.limits)
        self._refuse_example(text, self.sentence, "that is the example; design the database of this service")
        self._refuse_if(separate_problems(outline, self.limits))
        self.left_out = left_out
        return outline

    def _refuse_example(self, text: str, service: str, complaint: str) -> None:
        """Raises RejectedAnswerError if the text is the prompt's example, of which the service does not speak."""
        if copies_example(text, "", Seed(name="", description=service, source="", licence="")):
            self._refuse_if([Problem("copy", complaint)])

    def _table_problems(self, table: TableSpec, outline: Outline, done: dict[str, TableSpec]) -> list[Problem]:
        """What is wrong with a table's columns or, if nothing is, with its rows."""
        if problems := table_problems(table, done, self.limits):
            return problems
        return self._filled_problems(DatabaseSpec(**dict(outline) | {"tables": (*done.values(), table)}))

    def _filled_problems(self, spec: DatabaseSpec) -> list[Problem]:
        """What is wrong with the rows of the tables so far."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / "trial.sqlite"
            try:
                write_database(spec, self.seed, path)
            except apsw.Error as error:
                return [Problem("constraints", f"SQLite refuses it: {error}")]
            return written_problems(spec, path, self.limits)

    def _refuse_if(self, problems: Sequence[Problem]) -> None:
        """Raises RejectedAnswerError with the problems, if there are any."""
        if problems:
            self._kind = problems[0].kind
            raise RejectedAnswerError("; ".join(problem.text for problem in problems[:_MAX_SHOWN_PROBLEMS]))
