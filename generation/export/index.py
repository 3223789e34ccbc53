"""An index of a run's dialogue files: an entry of a few hundred bytes per dialogue, which can be read by offset."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from pydantic import ValidationError

from core.dialogue import Dialogue
from core.journal import RecordError, lines_of
from core.settings import UserError

_PIPELINE = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Entry:
    """One dialogue without its text: its location, digests and counts.

    `calls` is a digest of its goals and tool calls (None without tasks), `transcript` a digest of its messages,
    `signature` the MinHash of its shingles (None without words). `steps` are (sum, number, maximum) over the requests
    that used tools. `origin` is the index of its origin among the distinct ones of all dialogues; `task_hashes` are the
    identities of its tasks (generation.export.task_hash).
    """

    dialogue_id: str
    pipeline: str
    file: int
    offset: int
    calls: bytes | None
    transcript: bytes
    signature: bytes | None
    domain: str
    origin: int
    task_hashes: tuple[bytes, ...]
    validated: bool
    turns: int
    tasks: int
    steps: tuple[int, int, int]


def find_dialogues(path: Path) -> tuple[Path, ...]:
    """The dialogues.jsonl files of a generation run, or the given file itself. Raises UserError if there are none."""
    if path.is_file():
        return (path,)
    files = tuple(sorted([*path.glob("dialogues.jsonl"), *path.glob("*/dialogues.jsonl")]))
    if not files:
        raise UserError(f"data={path} was given; expected: a generation run or a dialogues.jsonl file")
    return files


class DialogueIndex:
    """Dialogue files open for reading; a context manager."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = tuple(files)
        self._streams = [file.open("rb") for file in files]

    @property
    def size(self) -> int:
        """Total size of the files in bytes."""
        return sum(file.stat().st_size for file in self.files)

    def read_all(self, on_bytes: Callable[[int], None]) -> Iterator[tuple[int, int, Dialogue]]:
        """(file, offset in bytes, dialogue) for every line; calls `on_bytes` with the bytes read. Raises RecordError
        for a line that is not a dialogue, UserError for an unplayed dialogue, a repeated id and an invalid pipeline
        name."""
        seen: set[str] = set()
        for number, path in enumerate(self.files):
            for offset, position, line in lines_of(path):
                dialogue = _parse(line, f"{path}, line {position}")
                if dialogue.dialogue_id in seen:
                    raise UserError(f"{path}, line {position}: the id {dialogue.dialogue_id} occurred before")
                seen.add(dialogue.dialogue_id)
                yield number, offset, dialogue
                on_bytes(len(line))

    def line(self, entry: Entry) -> bytes:
        """The line of a dialogue, unchanged."""
        stream = self._streams[entry.file]
        stream.seek(entry.offset)
        return stream.readline().rstrip(b"\n") + b"\n"

    def dialogue(self, entry: Entry) -> Dialogue:
        return Dialogue.model_validate_json(self.line(entry))

    def __enter__(self) -> DialogueIndex:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in self._streams:
            stream.close()


def _parse(line: bytes, where: str) -> Dialogue:
    try:
        dialogue = Dialogue.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        raise RecordError(f"{where}: not a dialogue: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if not dialogue.messages:
        raise UserError(
            f"{where}: {dialogue.dialogue_id} was never played: generate it with the stages rollout and validation"
        )
    if not _PIPELINE.fullmatch(dialogue.pipeline):
        raise UserError(
            f"{where}: pipeline={dialogue.pipeline!r} was given; expected: a name of letters, digits and _, "
            "since it names a file and a split"
        )
    return dialogue
