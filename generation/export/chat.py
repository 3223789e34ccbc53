"""Dialogues as OpenAI chat messages with tools, as JSON lines and Parquet, for any trainer.

Tools, late tools and arguments are JSON strings, as OpenAI's arguments are, so that `datasets.load_dataset` does not
merge their schemas.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features, List, Value

from core.provenance import Provenance

_TEXT = Value("string")
FEATURES = Features(
    {
        "id": _TEXT,
        "pipeline": _TEXT,
        "domain": _TEXT,
        "source": _TEXT,
        "licence": _TEXT,
        "messages": List(
            {
                "role": _TEXT,
                "content": _TEXT,
                "reasoning_content": _TEXT,
                "tool_calls": List({"id": _TEXT, "type": _TEXT, "function": {"name": _TEXT, "arguments": _TEXT}}),
                "tool_call_id": _TEXT,
            }
        ),
        "tools": _TEXT,
        "late_tools": _TEXT,
    }
)

_BATCH = 256  # rows


def chat_row(line: bytes) -> dict[str, Any]:
    """One line of dialogues.jsonl as a row of the chat format; absent message fields are omitted."""
    dialogue = json.loads(line)
    provenance = Provenance.model_validate(dialogue.get("provenance", "{}"))
    tools = [
        {"type": "function", "function": {key: tool[key] for key in ("name", "description", "parameters")}}
        for tool in json.loads(dialogue["tools"])
    ]
    return {
        "id": dialogue["dialogue_id"],
        "pipeline": dialogue["pipeline"],
        "domain": dialogue["domain"],
        "source": str(provenance.source),
        "licence": str(provenance.licence),
        "messages": [
            {key: value for key, value in message.items() if value is not None} for message in dialogue["messages"]
        ],
        "tools": json.dumps(tools, ensure_ascii=False),
        "late_tools": dialogue.get("late_tools", "{}"),
    }


def write_parquet(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows of the chat format atomically, with only a batch of them in memory."""
    partial = path.with_name(f".{path.name}")
    schema = FEATURES.arrow_schema
    iterator = iter(rows)
    try:
        with pq.ParquetWriter(partial, schema) as writer:
            for batch in _batches(iterator):
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while batch := list(islice(rows, _BATCH)):
        yield batch
