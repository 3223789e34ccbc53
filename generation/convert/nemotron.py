"""Nemotron-Post-Training-Dataset-v1 (NVIDIA 2025), split tool_calling: 310,051 dialogues in OpenAI's format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from generation.convert.base import Row
from generation.seeds.nemotron import HUB_ID, raw_tools
from generation.seeds.rows import is_columnar, read_rows

_COLUMNS = ("uuid", "license", "messages", "metadata")


class NemotronDialogues:
    """`path` is the dataset on the hub or a local copy. Answers start with their reasoning in <think> tags; the tools
    are in the column `metadata`."""

    name = "nemotron"

    def __init__(self, path: str | Path = HUB_ID, split: str = "tool_calling") -> None:
        self.path = path
        self.split = split

    def rows(self) -> Iterator[Row]:
        for number, row in enumerate(read_rows(self.path, self.split, _COLUMNS, HUB_ID)):
            try:
                tools = raw_tools(row["metadata"])
            except ValueError:
                tools = []  # its calls then count as calls of undeclared tools
            yield Row(
                columnar=is_columnar(self.path),
                conversation={"messages": row["messages"]},
                tools=tools,
                key=str(row["uuid"] or number),
                licence=str(row["license"] or "not stated"),
            )
