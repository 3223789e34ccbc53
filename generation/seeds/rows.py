"""Streams the rows of a dataset: from the Hugging Face hub, or a local folder or file with the same columns."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import load_dataset

from core.settings import UserError

_FORMATS = {".jsonl": "json", ".json": "json", ".parquet": "parquet"}
"""Suffix of a local file -> the loader's name for its format."""


def read_rows(path: str | Path, split: str, columns: Sequence[str], example: str) -> Iterator[Mapping[str, Any]]:
    """The rows with these columns, in order; for a file, `split` is ignored. `example` is a hub id for error messages.

    Raises UserError for any failure: the loader has many kinds of errors.
    """
    expected = (
        f"expected: {example}, or a local folder, .json, .jsonl or .parquet file with the columns {', '.join(columns)}"
    )
    try:
        local = Path(path)
        if local.suffix == ".jsonl" and local.is_file():
            yield from _lines(local, columns)
        else:
            yield from _load(path, split).select_columns(list(columns))
    except ImportError as error:
        raise UserError(f"{path} needs the package datasets ({error}): install the extra 'train'") from None
    except ConnectionError as error:
        raise UserError(f"path={path} was given, but it cannot be reached ({error}); {expected}") from None
    except Exception as error:
        raise UserError(f"path={path}, split={split} was given, but it cannot be read ({error}); {expected}") from None


def is_columnar(path: str | Path) -> bool:
    """Whether `read_rows` reads these rows with the loader, which pads objects with nulls to the keys of all others."""
    return Path(path).suffix != ".jsonl"


def _lines(file: Path, columns: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """The rows of a JSONL file as they stand; the loader would refuse blank lines. A column may be absent from some
    rows, but not from the first."""
    with file.open(encoding="utf-8-sig") as lines:
        rows = (json.loads(line) for line in lines if line.strip())
        for number, row in enumerate(rows):
            if not isinstance(row, dict):
                raise ValueError(f"row {number} is not a JSON object")
            if number == 0 and (missing := [column for column in columns if column not in row]):
                raise ValueError(f"row 0 has no {', '.join(missing)}")
            yield {column: row.get(column) for column in columns}


def _load(path: str | Path, split: str) -> Any:
    # It logs every attempt to reach the hub, and importing it sets the level; the final error reports it once.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    local = Path(path)
    if local.suffix in _FORMATS and not local.is_dir():
        if not local.is_file():
            raise FileNotFoundError("there is no such file")
        return load_dataset(_FORMATS[local.suffix], data_files=str(local), split="train", streaming=True)
    return load_dataset(str(path), split=split, streaming=True)
