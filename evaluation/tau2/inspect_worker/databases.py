"""τ²'s databases, read once a process and lent to each trial.

inspect-evals reads a database anew for each trial and once more to score it, and inspect turns all that a trial holds into JSON
before and after each tool call: seconds of CPU a trial, and a file left behind in the temporary directory for each reading. Here
a trial gets a dictionary of the shared entities, which copies an entity when it is looked up as [key], since whoever
looks one up may change it. As JSON a lent database is only what the trial has changed, and so is what its hash is made of: two lent
databases have the same hash exactly if the official hashes of the whole are the same. The tools iterate over entities
only to read them (`tests/evaluation/tau2/inspect_worker/test_databases.py` holds them to it).
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
    """The entities of one kind, those looked up by key being copies. Iterating gives shared ones: for reading only."""

    def __init__(self, shared: Mapping[str, E]) -> None:
        super().__init__(shared)
        self.shared = shared
        self.own: set[str] = set()

    def __getitem__(self, key: str) -> E:
        if key not in self.own:
            self[key] = super().__getitem__(key).model_copy(deep=True)
        return super().__getitem__(key)

    def __setitem__(self, key: str, entity: E) -> None:
        super().__setitem__(key, entity)
        self.own.add(key)

    def changes(self) -> dict[str, Any]:
        """What differs from the shared entities, by key. As text, since the official hash is one of texts: 1 is not 1.0."""
        mine = {key: super(CopyOnReadDict, self).__getitem__(key).model_dump() for key in sorted(self.own)}
        return {
            key: dump
            for key, dump in mine.items()
            if key not in self.shared or _text(dump) != _text(self.shared[key].model_dump())
        }


class LentFlightDB(FlightDB):  # type: ignore[misc]  # untyped here
    """The airline's."""

    @model_serializer
    def changes(self) -> dict[str, Any]:
        return _changes(self)


class LentRetailDB(RetailDB):  # type: ignore[misc]  # untyped here
    """The shop's."""

    @model_serializer
    def changes(self) -> dict[str, Any]:
        return _changes(self)


LENT: dict[Any, Any] = {FlightDB: LentFlightDB, RetailDB: LentRetailDB}


def install_copy_on_read() -> None:
    """From now on every database that inspect-evals loads in this process is a lent one."""
    DB.load = classmethod(_load)


def _load(kind: Any, path: str) -> Any:
    shared = read(kind, path)
    if kind not in LENT:
        return shared.model_copy(deep=True)  # telecom's: small, and its tools change what they find by iterating
    return LENT[kind].model_construct(**{name: CopyOnReadDict(getattr(shared, name)) for name in kind.model_fields})


@cache
def read(kind: Any, path: str) -> Any:
    """The whole database, shared by all of the process: never to be changed."""
    if path.endswith(".json.gz"):
        return kind.model_validate(json.loads(gzip.decompress(Path(path).read_bytes())))
    return kind.model_validate(load_file(path))


def _changes(database: Any) -> dict[str, Any]:
    kinds: dict[str, CopyOnReadDict[Any]] = {name: getattr(database, name) for name in type(database).model_fields}
    return {name: changes for name, entities in kinds.items() if (changes := entities.changes())}


def _text(dump: dict[str, Any]) -> str:
    return json.dumps(dump, sort_keys=True, default=str)
