"""Writes dialogues for fine-tuning: as generated, and in the format of a trainer."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from core.files import write_atomically
from generation.export.chat import chat_row, write_parquet
from generation.export.formats import ROWS, Format, trace_lines
from generation.export.index import DialogueIndex, Entry

FOLDERS: dict[Format, str] = {"openai": "messages", "sharegpt": "sharegpt", "hermes": "hermes", "traces": "traces"}
"""Format -> folder of an export."""


def sft_steps(kept: Sequence[Entry], form: Format) -> int:
    """How often `write_sft` reads a dialogue."""
    return len(kept) * (3 if form == "openai" else 2)


def write_sft(
    directory: Path, index: DialogueIndex, kept: Sequence[Entry], form: Format, on_line: Callable[[int], None]
) -> None:
    """Write data/<pipeline>.jsonl as generated and <format>/<pipeline>.jsonl, for openai also as Parquet, in order of
    id; of session traces one file per dialogue. Calls `on_line` with 1 after each dialogue read."""
    pipelines: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in kept:
        pipelines[entry.pipeline].append(entry)
    folder = directory / FOLDERS[form]
    for output in (directory / "data", folder):
        output.mkdir(exist_ok=True)
    for name, entries in sorted(pipelines.items()):

        def lines(entries: Sequence[Entry] = entries) -> Iterator[bytes]:
            for entry in entries:
                yield index.line(entry)
                on_line(1)

        write_atomically(directory / "data" / f"{name}.jsonl", (line.decode() for line in lines()))
        rows = (chat_row(line) for line in lines())
        if form == "traces":
            _write_traces(folder / name, rows)
        elif form == "openai":
            write_atomically(folder / f"{name}.jsonl", map(_json_line, rows))
            write_parquet(folder / f"{name}.parquet", (chat_row(line) for line in lines()))
        else:
            write_atomically(folder / f"{name}.jsonl", (_json_line(ROWS[form](row)) for row in rows))


def _write_traces(folder: Path, rows: Iterable[dict[str, Any]]) -> None:
    folder.mkdir(exist_ok=True)
    for row in rows:
        write_atomically(folder / f"{row['id'].replace('/', '_')}.jsonl", map(_json_line, trace_lines(row)))


def _json_line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"
