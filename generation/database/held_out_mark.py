"""The mark in an SQLite file that says it is for evaluation only, whatever the file is called and wherever it lies."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw

_HELD_OUT = int.from_bytes(b"held", "big")
"""SQLite's application id: four bytes of a file that its program may use."""


def mark_held_out(connection: apsw.Connection) -> None:
    """Mark the open database."""
    connection.execute(f"PRAGMA application_id = {_HELD_OUT}")


def is_held_out(path: Path) -> bool:
    """Whether the SQLite file is marked. Raises apsw.Error if it is not a database."""
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        return bool(connection.execute("PRAGMA application_id").get == _HELD_OUT)
