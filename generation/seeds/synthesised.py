"""Seeds from a run of `make databases`: its databases to train on, or those held out for evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from core.journal import read_jsonl
from core.messages import Frozen
from core.runs import sha256
from core.settings import UserError
from generation.database.spec import DatabaseSpec
from generation.seeds.base import Seed
from generation.seeds.choice import choose

DATABASES = "databases.jsonl"

Part = Literal["train", "held_out"]


class DatabaseRecord(Frozen):
    """A line of databases.jsonl: an accepted database. `file` is relative to the run; `likeness` is that to the most
    alike known schema, `most_alike`."""

    number: int
    name: str
    domain: str
    part: Part
    file: Path
    sha256: str
    sentence: str
    title: str
    description: str
    tables: int
    rows: int
    likeness: float
    most_alike: str
    left_out: tuple[str, ...] = ()
    models: dict[str, str] = Field(default_factory=dict)
    spec: DatabaseSpec


class SynthesisedSeeds:
    """The databases `names` (None: all) of the folder `run`, from one of its two parts.

    Names of the other part are refused, so that training never uses a database that evaluation counts as unseen.
    """

    def __init__(
        self,
        run: str | Path,
        names: Sequence[str] | None = None,
        held_out: bool = False,
        licence: str = "not stated",
    ) -> None:
        self.run = Path(run)
        self.names = names
        self.held_out = held_out
        self.licence = licence

    def load(self) -> tuple[Seed, ...]:
        path = self.run / DATABASES
        if not path.is_file():
            raise UserError(
                f"run={self.run} was given (domains.run; in make eval benchmarks.heldout.databases.run), but there is no "
                f"{path}; expected: a finished run of `make databases`"
            )
        records = {record.name: record for record in read_jsonl(path, DatabaseRecord)}
        part: Part = "held_out" if self.held_out else "train"
        chosen = {name: record for name, record in records.items() if record.part == part}
        names = self.names if isinstance(self.names, Sequence) else ()
        if refused := sorted(set(names) & (records.keys() - chosen.keys())):
            why = "not held out, but held_out=true was given" if self.held_out else "held out for evaluation"
            raise UserError(f"names: {', '.join(refused)}: {why}; expected: {', '.join(sorted(chosen))}")
        if not chosen:
            raise UserError(f"run={self.run} has no database of the part {part}; expected a run with more databases")
        return tuple(self._seed(chosen[name]) for name in choose(self.names, chosen, "names"))

    def _seed(self, record: DatabaseRecord) -> Seed:
        file = self.run / record.file
        if not file.is_file() or sha256(file) != record.sha256:
            raise UserError(f"{file} is missing or not the database that {self.run / DATABASES} describes (SHA-256)")
        return Seed(
            name=record.name,
            title=record.title,
            description=record.description,
            database=file,
            source="synthesised",
            licence=self.licence,
            held_out=record.part == "held_out",
        )
