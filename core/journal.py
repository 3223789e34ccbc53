"""Append-only JSONL that survives kill -9, and atomic files."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO, TypeVar

from pydantic import BaseModel, ValidationError

from core.settings import UserError

M = TypeVar("M", bound=BaseModel)


class RecordError(UserError):
    """A line of a JSONL file cannot be read; the message names file, line and reason."""


def read_jsonl(path: Path, model: type[M]) -> Iterator[M]:
    """Yield every line of `path` as `model`. Raises RecordError at the first line that is no such record."""
    for _, number, line in lines_of(path):
        yield parse_line(path, number, line, model)


def indexed_jsonl(path: Path, model: type[M]) -> Iterator[tuple[int, M]]:
    """(byte offset, record) of every whole line; a torn last line, which has no end, is left out. Raises RecordError."""
    for offset, number, line in lines_of(path):
        if line.endswith(b"\n"):
            yield offset, parse_line(path, number, line, model)


def read_jsonl_at(path: Path, offset: int, model: type[M]) -> M:
    """The record whose line begins at a byte offset that `indexed_jsonl` gave. Raises RecordError."""
    with path.open("rb") as file:
        file.seek(offset)
        return parse_line(path, None, file.readline(), model)


def lines_of(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """(byte offset, number from 1, line) of every line. Raises RecordError where there is no such file."""
    if not path.is_file():
        raise RecordError(f"{path} was given, but there is no such file")
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            yield offset, number, line
            offset += len(line)


def parse_line(path: Path, number: int | None, line: bytes, model: type[M]) -> M:
    """The record in a line. Raises RecordError, which names `path` and, where known, the line's `number`."""
    try:
        return model.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        what = f"{where}: {first['msg']}" if where else first["msg"]
        at = f", line {number}" if number else ""
        raise RecordError(f"{path}{at}: not a {model.__name__.strip('_')}: {what}") from None


def dump_line(record: BaseModel) -> str:
    """A record as one line, None fields left out."""
    return record.model_dump_json(exclude_none=True) + "\n"


class Journal:
    """A JSONL file to which records are only ever appended; each is on disk before `append` returns.

    A torn last line (the process died in the middle of a write) is cut off when the file is opened again. Only one
    process may hold a journal; its run directory's lock sees to that.
    """

    def __init__(self, path: Path, key: Callable[[dict[str, Any]], str]) -> None:
        self.path = path
        self.keys: set[str] = set()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        self._end = 0
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    break
                try:
                    self.keys.add(key(json.loads(line)))
                except (ValueError, KeyError, TypeError) as error:
                    raise RecordError(f"{path}, line {number}: not a record of this journal ({error})") from None
                self._end += len(line)
        # Unbuffered: what a full disk refused must not wait in a buffer to be written by a later flush or close.
        self._file = path.open("ab", buffering=0)
        self._file.truncate(self._end)

    def append(self, record: BaseModel, key: str) -> None:
        """Write one record. Raises OSError (disk full) with everything written before still intact."""
        line = dump_line(record).encode()
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[os.write(self._file.fileno(), rest) :]
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(self._end)
            raise
        self._end += len(line)
        self.keys.add(key)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def writing(path: Path) -> Iterator[TextIO]:
    """A text file to write to, which takes its place as `replacing` does."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file that takes the place of `path` when the block ends: a reader sees the old one or the whole new one, never
    a part. Raises UserError where something other than a file stands there."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path} was given, but it is no file that could be written")
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


def write_atomically(path: Path, lines: str | Iterable[str]) -> None:
    """Write a whole text file as `writing` does."""
    with writing(path) as file:
        file.writelines([lines] if isinstance(lines, str) else lines)


def write_json(path: Path, value: Any) -> None:
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False) + "\n")


def write_jsonl(path: Path, records: Iterable[BaseModel]) -> None:
    write_atomically(path, (dump_line(record) for record in records))
