"""A run: n databases are written concurrently, journalled one by one, and at the end compared, split and filled."""

from __future__ import annotations

import asyncio
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from core.journal import Journal, read_jsonl, write_jsonl
from core.runs import sha256
from core.server_protocol import total
from core.settings import Settings, UserError
from generation.database.spec import DatabaseSpec
from generation.llm.base import LLM, LLMError
from generation.llm.meter import Meter
from generation.seeds.synthesised import DATABASES, DatabaseRecord, Part
from generation.synthesis.areas import drawn
from generation.synthesis.likeness import SchemaNames, most_alike, names_of
from generation.synthesis.limits import Limits
from generation.synthesis.split import SplitSettings, compared, part_of, split_hash
from generation.synthesis.sqlite_file import write_database
from generation.synthesis.writer import Candidate, Idea, RepairSettings, write_candidate

_DRAWN = 20
"""Databases of a run whose number is not given."""


class DatabasesSettings(Settings):
    """conf/databases.yaml."""

    outputs: Path = Field(description="folder of all runs' outputs")
    seed: int = Field(description="random seed of areas and rows")
    n: int | None = Field(
        ge=1, description=f"databases to start; null: one for each of `sentences`, or {_DRAWN} from drawn areas"
    )
    sentences: Path | tuple[str, ...] | None = Field(
        description="sentences about domains, as a list or a text file with one a line; null: the model invents them"
    )
    concurrency: int = Field(ge=1, description="databases written at the same time")
    repairs: RepairSettings
    limits: Limits
    held_out: SplitSettings
    bfcl: Path | None = Field(description="BFCL's environment, whose records must not be copied; null: not compared")
    spider: Path | None = Field(description="Spider's folder, whose schemas must not be copied; null: not compared")
    llm: dict[str, Any] = Field(description="the LLM (`_target_`) that writes the databases")


@dataclass(frozen=True)
class Finished:
    """What a run made, and what the known schemas were."""

    accepted: tuple[DatabaseRecord, ...]
    rejected: tuple[Candidate, ...]
    compared: tuple[str, ...]
    cost: dict[str, int | None]

    def results(self) -> dict[str, Any]:
        """For the manifest."""
        parts: tuple[Part, ...] = ("train", "held_out")
        by_part = {part: [record for record in self.accepted if record.part == part] for part in parts}
        return {
            "started": len(self.accepted) + len(self.rejected),
            "accepted": len(self.accepted),
            "rejected": dict(Counter(str(candidate.kind) for candidate in self.rejected).most_common()),
            "tables": sum(record.tables for record in self.accepted),
            "rows": sum(record.rows for record in self.accepted),
            "domains": {part: len({record.domain for record in records}) for part, records in by_part.items()},
            "databases": {part: len(records) for part, records in by_part.items()},
            "split_sha256": {
                part: split_hash((record.domain, record.sha256) for record in records)
                for part, records in by_part.items()
            },
            "compared_with": list(self.compared),
            "cost": self.cost,
        }


def ideas(settings: DatabasesSettings) -> tuple[Idea, ...]:
    """What the databases start from: the given sentences, each a domain of its own, or drawn areas.

    Raises UserError for a file that cannot be read, and for more databases than sentences.
    """
    if settings.sentences is None:
        areas = drawn(settings.n or _DRAWN, settings.seed)
        return tuple(Idea(number=number, domain=area) for number, area in enumerate(areas))
    given = settings.sentences
    if isinstance(given, Path):
        try:
            # str.splitlines would also split at separators within a sentence, such as U+2028.
            lines = given.read_text(encoding="utf-8-sig").split("\n")
            given = tuple(line.strip() for line in lines if line.strip())
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"sentences={given} cannot be read ({error}); expected a text file, one sentence a line"
            ) from None
    different: dict[str, str] = {}
    for sentence in given:
        plain = unicodedata.normalize("NFC", " ".join(sentence.split()))
        different.setdefault(compared(plain), plain)
    sentences = tuple(different.values())
    if not sentences or not all(sentences):
        raise UserError("sentences is empty; expected at least one sentence about a domain, or null")
    if (settings.n or 0) > len(sentences):
        raise UserError(
            f"n={settings.n} was given with {len(sentences)} different sentences; expected at most one database for each"
        )
    return tuple(
        Idea(number=number, domain=sentence, sentence=sentence)
        for number, sentence in enumerate(sentences[: settings.n])
    )


async def make_databases(
    settings: DatabasesSettings,
    known: Sequence[SchemaNames],
    llm: LLM,
    directory: Path,
    on_candidate: Callable[[Candidate], None],
) -> Finished:
    """Write all databases into `directory`: train/, held_out/, databases.jsonl and rejected.jsonl. None may copy a
    schema of `known`. What an interrupted session finished stays. Raises UserError if the model cannot be reached; the
    same command then continues."""
    planned = ideas(settings)
    slots = asyncio.Semaphore(settings.concurrency)
    with Journal(directory / "journal.jsonl", key=lambda record: str(record["number"])) as journal:
        done = {candidate.number: candidate for candidate in read_jsonl(journal.path, Candidate)}

        async def work(idea: Idea) -> None:
            if idea.number not in done:
                async with slots:
                    candidate = await _write_candidate(idea, Meter(llm), settings, known)
                done[idea.number] = candidate
                journal.append(candidate, str(idea.number))
            on_candidate(done[idea.number])

        try:
            async with asyncio.TaskGroup() as workers:
                for idea in planned:
                    workers.create_task(work(idea))
        except ExceptionGroup as group:
            error = group.exceptions[0]
            if isinstance(error, LLMError):
                raise UserError(f"the model cannot be reached ({error}); the same command continues") from None
            raise error from None
    return _finish([done[idea.number] for idea in planned], settings, known, directory)


async def _write_candidate(
    idea: Idea, meter: Meter, settings: DatabasesSettings, known: Sequence[SchemaNames]
) -> Candidate:
    """An internal error in one database must neither end the run nor vanish."""
    try:
        return await write_candidate(idea, meter, settings.limits, settings.repairs, known, settings.seed)
    except (LLMError, UserError):
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".encode(errors="replace").decode()
        return Candidate(**dict(idea), status="rejected", kind="internal", reason=reason, usage=meter.usage)


def _finish(
    candidates: Sequence[Candidate], settings: DatabasesSettings, known: Sequence[SchemaNames], directory: Path
) -> Finished:
    """Compare the databases with each other in their order, split them by domain, and write all files."""
    accepted: list[DatabaseRecord] = []
    rejected: list[Candidate] = []
    seen: list[SchemaNames] = []
    names: Counter[str] = Counter()
    for candidate in candidates:
        spec = candidate.spec
        if spec is None:
            rejected.append(candidate)
            continue
        schema = names_of(spec, f"database {candidate.number}, {spec.title}")
        alike, other = most_alike(schema, seen)
        if other and alike >= settings.limits.likeness_in_run:
            reason = f"its tables and columns are {alike:.0%} alike {other.of}"
            rejected.append(candidate.model_copy(update={"status": "rejected", "kind": "repetition", "reason": reason}))
            continue
        seen.append(schema)
        names[spec.name] += 1
        name = spec.name if names[spec.name] == 1 else f"{spec.name}_{names[spec.name]}"
        accepted.append(_write(candidate, spec, name, settings, most_alike(schema, known), directory))
    write_jsonl(directory / DATABASES, accepted)
    write_jsonl(directory / "rejected.jsonl", rejected)
    return Finished(tuple(accepted), tuple(rejected), tuple(schema.of for schema in known), _cost(candidates))


def _write(
    candidate: Candidate,
    spec: DatabaseSpec,
    name: str,
    settings: DatabasesSettings,
    alike: tuple[float, SchemaNames | None],
    directory: Path,
) -> DatabaseRecord:
    """Write the file of an accepted database, and return its record."""
    part = part_of(candidate.domain, settings.held_out)
    file = Path(part) / f"{name}.sqlite"
    write_database(spec, settings.seed, directory / file, held_out=part == "held_out")
    return DatabaseRecord(
        number=candidate.number,
        name=name,
        domain=candidate.domain,
        part=part,
        file=file,
        sha256=sha256(directory / file),
        sentence=candidate.sentence,
        title=spec.title,
        description=spec.description,
        tables=len(spec.tables),
        rows=sum(table.rows for table in spec.tables),
        likeness=round(alike[0], 3),
        most_alike=alike[1].of if alike[1] else "",
        left_out=candidate.left_out,
        models=candidate.models,
        spec=spec,
    )


def _cost(candidates: Sequence[Candidate]) -> dict[str, int | None]:
    return {
        "requests": sum(candidate.usage.requests for candidate in candidates),
        "prompt_tokens": total(candidate.usage.prompt_tokens for candidate in candidates),
        "completion_tokens": total(candidate.usage.completion_tokens for candidate in candidates),
        "refused_answers": sum(len(candidate.refused) for candidate in candidates),
    }
