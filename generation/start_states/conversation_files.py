"""Reads files of foreign conversations: JSON lines, or one JSON value with a list of conversations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.settings import UserError
from generation.start_states.chat_formats import CONVERSATION_KEYS

_SUFFIXES = (".json", ".jsonl")


def conversation_files(path: Path) -> tuple[Path, ...]:
    """The file itself, or the .json and .jsonl files of a folder, by name. Raises UserError if there are none."""
    if path.is_file():
        return (path,)
    files = tuple(sorted(file for suffix in _SUFFIXES for file in path.glob(f"*{suffix}")))
    if not files:
        raise UserError(f"{path} was given; expected: a .json or .jsonl file of dialogues, or a folder with such files")
    return files


def raw_conversations(file: Path) -> Iterator[Any]:
    """Every conversation of a file, as parsed JSON. A .json file holds one, a list of them, or lists by split (as ABCD
    does). Raises UserError for text that is not JSON."""
    try:
        if file.suffix == ".jsonl":
            with file.open(encoding="utf-8-sig") as lines:
                yield from (json.loads(line) for line in lines if line.strip())
            return
        value = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is not {'JSON lines' if file.suffix == '.jsonl' else 'JSON'}: {error}") from None
    if isinstance(value, dict) and not any(key in value for key in CONVERSATION_KEYS):
        value = [item for split in value.values() if isinstance(split, list) for item in split]
    yield from value if isinstance(value, list) else [value]
