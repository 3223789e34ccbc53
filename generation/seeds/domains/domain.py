"""A bundled domain, and the code that builds its SQLite file."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import faker

from core.settings import UserError
from generation.seeds.domains import draw
from generation.seeds.domains.draw import Draw

Row = tuple[str | int | float | None, ...]
TableRows = dict[str, list[Row]]
"""Table name -> rows, parents before children. A row omits the first column, the table's INTEGER PRIMARY KEY: rows are
numbered from 1 in order."""


@dataclass(frozen=True)
class BundledDomain:
    """`title` and `description` are as in Seed, the title is by default the name; `rows` must draw every random value
    from its Draw argument."""

    description: str
    schema: str
    rows: Callable[[Draw], TableRows]
    title: str = ""

    @property
    def name(self) -> str:
        return self.rows.__module__.rpartition(".")[2]


def build(domain: BundledDomain, cache: Path) -> Path:
    """The domain's SQLite file under `cache`, built if missing.

    Its name contains a hash of everything that determines its content, so a changed domain gets a new file. The file
    appears atomically, however many processes build it at once. Raises UserError if `cache` cannot be written.
    """
    path = cache / f"{domain.name}-{_fingerprint(domain)}.sqlite"
    if path.exists():
        return path
    try:
        cache.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=cache, prefix=f".{path.name}.")
        os.close(descriptor)
        temporary = Path(name)
        try:
            _fill(temporary, domain)
            temporary.chmod(0o644)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except (OSError, sqlite3.OperationalError) as error:
        raise UserError(
            f"cache={cache} was given, but the database {path.name} cannot be written there: {error}"
        ) from None
    return path


def _fill(path: Path, domain: BundledDomain) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(domain.schema)
        connection.execute("PRAGMA foreign_keys = ON")
        for table, rows in domain.rows(Draw(domain.name)).items():
            places = ", ".join("?" * (1 + len(rows[0])))
            numbered = [(number, *row) for number, row in enumerate(rows, start=1)]
            connection.executemany(f"INSERT INTO {table} VALUES ({places})", numbered)


def _fingerprint(domain: BundledDomain) -> str:
    digest = hashlib.sha256(faker.VERSION.encode())
    for module in (domain.rows.__module__, __name__, draw.__name__):
        digest.update(Path(str(sys.modules[module].__file__)).read_bytes())
    return digest.hexdigest()[:12]
