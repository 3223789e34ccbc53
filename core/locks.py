"""File locks, with which processes that share a directory keep out of each other's way."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from core.settings import UserError


def lock_file(lock: IO[str], place: Path, wait: bool) -> None:
    """Lock an open file until it is closed. Raises BlockingIOError if another process has locked it and `wait` is
    false, and UserError that names `place` if its file system has no locks."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError as error:
        raise UserError(
            f"{place} is on a file system without file locks ({error.strerror}), which keep two commands from writing "
            "into one run: name a directory on another one, outputs=…"
        ) from None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process is in this block with the same `path`, which is created. Raises UserError if its file
    system has no locks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        lock_file(lock, path.parent, wait=True)
        yield
