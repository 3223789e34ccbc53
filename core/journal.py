"""JSONL files of typed records: reading with errors that name the line, and a journal that survives kill -9."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from core.files import write_atomically
from core.settings import UserError

M = TypeVar("M", bound=BaseModel)


class RecordError(UserError):
    """A line of a JSONL file cannot be read; the message names the file, the line and the reason."""


def read_jsonl(path: Path, model: type[M]) -> Iterator[M]:
    """Yield every line of `path` as `model`. Raises RecordError at the first line that does not fit."""
    for _, number, line in lines_of(path):
        yield parse_line(path, number, line, model)


def indexed_jsonl(path: Path, model: type[M]) -> Iterator[tuple[int, M]]:
    """Yield (byte offset, record) of every complete line; a torn last line (without newline) is skipped.

    Raises RecordError as `read_jsonl` does.
    """
    for offset, number, line in lines_of(path):
        if line.endswith(b"\n"):
            yield offset, parse_line(path, number, line, model)


def read_jsonl_at(path: Path, offset: int, model: type[M]) -> M:
    """Read the record at a byte offset from `indexed_jsonl`. Raises RecordError."""
    with path.open("rb") as file:
        file.seek(offset)
        return parse_line(path, None, file.readline(), model)


def lines_of(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield (byte offset, line number from 1, line) of every line but blank ones. Raises RecordError if the file does
    not exist."""
    if not path.is_file():
        raise RecordError(f"{path} was given, but there is no such file")
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield offset, number, line
            offset += len(line)


def parse_line(path: Path, number: int | None, line: bytes, model: type[M]) -> M:
    """Parse one line. Raises RecordError that names `path` and, if given, the line `number`."""
    try:
        return model.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        problem = f"{field}: {first['msg']}" if field else first["msg"]
        location = f"{path}, line {number}" if number else f"{path}"
        raise RecordError(f"{location}: not a {model.__name__.strip('_')}: {problem}") from None


def dump_line(record: BaseModel) -> str:
    """Serialise a record as one line without its None fields."""
    return record.model_dump_json(exclude_none=True) + "\n"


def write_jsonl(path: Path, records: Iterable[BaseModel]) -> None:
    """Write a complete JSONL file atomically."""
    write_atomically(path, (dump_line(record) for record in records))


class Journal:
    """An append-only JSONL file; every record is on disk before `append` returns. `keys` holds the keys of all records.

    Opening it again truncates a torn last line, left by a process that died during a write. Only one process may use a
    journal at a time, which the lock of the run directory guarantees. Raises RecordError if another line is corrupt.
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
        # Unbuffered: bytes that a full disk refused must not stay in a buffer and reach the file at a later flush.
        self._file = path.open("ab", buffering=0)
        self._file.truncate(self._end)

    def append(self, record: BaseModel, key: str) -> None:
        """Append one record. Raises OSError if the disk is full; all earlier records stay intact."""
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
