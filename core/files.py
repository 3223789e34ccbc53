"""Atomic files: a reader sees the old content or the new content, never a part of it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from core.settings import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file next to `path` and rename it to `path` when the block ends; an exception deletes it.

    Raises UserError if `path` exists and is not a regular file.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"cannot write {path}: it exists and is not a regular file")
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def writing(path: Path) -> Iterator[TextIO]:
    """Open a text file for writing that replaces `path` when the block ends. Raises UserError as `replacing` does."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def write_atomically(path: Path, lines: str | Iterable[str]) -> None:
    """Write a complete text file as `writing` does."""
    with writing(path) as file:
        file.writelines([lines] if isinstance(lines, str) else lines)


def link(path: Path, target: Path, root: Path) -> None:
    """Make `path`, a path below `root`, a symbolic link to a directory: a relative one if the directory is below `root`
    too, so that it survives moving `root`."""
    target, folder = target.resolve(), path.parent.resolve()
    relative = target.is_relative_to(root.resolve())
    path.symlink_to(os.path.relpath(target, folder) if relative else target, target_is_directory=True)


def write_json(path: Path, value: Any) -> None:
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False) + "\n")
