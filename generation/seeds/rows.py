"""Rows of a data set: from the Hugging Face hub, or a local folder or file with its columns; streamed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.settings import UserError

_FORMATS = {".jsonl": "json", ".json": "json", ".parquet": "parquet"}


def read_rows(path: str | Path, split: str, columns: Sequence[str], example: str) -> Iterator[Mapping[str, Any]]:
    """The rows with these columns, as they come; a file has no splits. `example` is a hub id for the error message.

    Raises UserError for whatever goes wrong on the way: the loader has many kinds of errors.
    """
    expected = f"{example}, or a local folder, .json, .jsonl or .parquet file with the columns {', '.join(columns)}, is expected"
    try:
        yield from _load(path, split).select_columns(list(columns))
    except ImportError as error:
        raise UserError(f"{path} needs the package datasets ({error}): install the extra 'train'") from None
    except ConnectionError as error:
        raise UserError(f"path={path} was given, but it cannot be reached ({error}); {expected}") from None
    except Exception as error:
        raise UserError(f"path={path}, split={split} was given, but it cannot be read ({error}); {expected}") from None


def _load(path: str | Path, split: str) -> Any:
    from datasets import load_dataset  # noqa: PLC0415 - takes seconds, and only data sets need it

    # It tells of each attempt to reach the hub, and its import sets the level; the error in the end says it once.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    local = Path(path)
    if local.suffix in _FORMATS and not local.is_dir():
        if not local.is_file():
            raise FileNotFoundError("there is no such file")
        return load_dataset(_FORMATS[local.suffix], data_files=str(local), split="train", streaming=True)
    return load_dataset(str(path), split=split, streaming=True)
