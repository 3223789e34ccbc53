"""τ²'s databases, read once per process and copied on read.

inspect-evals reads a database for each trial and again to score it, and inspect converts a trial's complete state to
JSON before and after each tool call. That costs seconds of CPU per trial, and every reading leaves a file in the
temporary directory.

Here a trial gets dictionaries of shared entities. Looking an entity up as [key] copies it, because the caller may
change it. Iterating yields the shared entities: the tools iterate only to read, which
tests/evaluation/tau2/inspect_worker/test_databases.py checks.

As JSON, and therefore in its hash, such a database consists only of the trial's changes. Two of them have the same hash
exactly if the official hashes of the complete databases are equal.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from inspect_evals.tau2.airline.data_model import FlightDB
from inspect_evals.tau2.environment.db import DB
from inspect_evals.tau2.retail.data_model import RetailDB
from inspect_evals.tau2.utils import load_file
from pydantic import BaseModel, model_serializer

E = TypeVar("E", bound=BaseModel)


class CopyOnReadDict(dict[str, E], Generic[E]):
    """The entities of one kind. Looking one up by key copies it; iterating yields the shared ones, for reading only."""

    def __init__(self, shared: Mapping[str, E]) -> None:
        super().__init__(shared)
        self.shared = shared
        self.copied: set[str] = set()

    def __getitem__(self, key: str) -> E:
        if key not in self.copied:
            self[key] = super().__getitem__(key).model_copy(deep=True)
        return super().__getitem__(key)

    def __setitem__(self, key: str, entity: E) -> None:
        super().__setitem__(key, entity)
        self.copied.add(key)

    def changes(self) -> dict[str, Any]:
        """The entities that differ from the shared ones, by key; compared as text, like the hashes: 1 is not 1.0."""
        dumps = {key: super(CopyOnReadDict, self).__getitem__(key).model_dump() for key in sorted(self.copied)}
        return {
            key: dump
            for key, dump in dumps.items()
            if key not in self.shared or _text(dump) != _text(self.shared[key].model_dump())
        }


class CopiedFlightDB(FlightDB):
    """The airline's database; serializes to its changes."""

    @model_serializer
    def changes(self) -> dict[str, Any]:
        return _changes(self)


class CopiedRetailDB(RetailDB):
    """The shop's database; serializes to its changes."""

    @model_serializer
    def changes(self) -> dict[str, Any]:
        return _changes(self)


COPIED_ON_READ: dict[Any, Any] = {FlightDB: CopiedFlightDB, RetailDB: CopiedRetailDB}


def install_copy_on_read() -> None:
    """From now on inspect-evals loads its databases in this process as copied-on-read ones."""
    DB.load = classmethod(_load)


def _load(database_type: Any, path: str) -> Any:
    shared = read(database_type, path)
    if database_type not in COPIED_ON_READ:
        return shared.model_copy(deep=True)  # telecom: small, and its tools change entities while iterating
    dictionaries = {name: CopyOnReadDict(getattr(shared, name)) for name in database_type.model_fields}
    return COPIED_ON_READ[database_type].model_construct(**dictionaries)


@cache
def read(database_type: Any, path: str) -> Any:
    """The complete database, shared by all trials; must not be changed."""
    if path.endswith(".json.gz"):
        return database_type.model_validate(json.loads(gzip.decompress(Path(path).read_bytes())))
    return database_type.model_validate(load_file(path))


def _changes(database: Any) -> dict[str, Any]:
    kinds: dict[str, CopyOnReadDict[Any]] = {name: getattr(database, name) for name in type(database).model_fields}
    return {name: changes for name, entities in kinds.items() if (changes := entities.changes())}


def _text(dump: dict[str, Any]) -> str:
    return json.dumps(dump, sort_keys=True, default=str)
