"""Seeds from Nemotron-Post-Training-Dataset-v1 (NVIDIA 2025), split tool_calling: one for each distinct tool set."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.messages import ToolSpec
from core.settings import UserError
from generation.seeds.base import Seed
from generation.seeds.rows import read_rows
from generation.specs.formats import parse_tool_spec
from generation.specs.titles import title_of, tool_nouns

HUB_ID = "nvidia/Nemotron-Post-Training-Dataset-v1"
_COLUMNS = ["uuid", "license", "metadata"]


class NemotronSeeds:
    """The first `limit` distinct tool sets (None: all) with at least `min_tools` usable tools.

    `path` is a dataset on the Hugging Face hub, or a local folder, .jsonl or .parquet file with the columns uuid,
    license and metadata; for a file, `split` is ignored. Rows are streamed. After `load`, `skipped` counts skipped rows
    by reason, and under "tool" the single tools skipped in used rows; `problems` shows the first problem of each kind.
    """

    def __init__(
        self, path: str | Path = HUB_ID, split: str = "tool_calling", limit: int | None = None, min_tools: int = 2
    ) -> None:
        numbers = (min_tools,) if limit is None else (limit, min_tools)
        if not all(isinstance(number, int) and number >= 1 for number in numbers):
            raise UserError(f"limit={limit}, min_tools={min_tools} was given; expected: integers of at least 1")
        self.path = path
        self.split = split
        self.limit = limit
        self.min_tools = min_tools
        self.skipped: Counter[str] = Counter()
        self.problems: dict[str, str] = {}

    def load(self) -> tuple[Seed, ...]:
        self.skipped.clear()
        self.problems.clear()
        seeds: dict[str, Seed] = {}
        seen: set[bytes] = set()
        for row in read_rows(self.path, self.split, _COLUMNS, HUB_ID):
            tools = self._tools(row)
            if tools and not self._is_repeated(tools, seen):
                name = _name(str(row["uuid"] or ""), tools, seeds)
                seeds[name] = _seed(name, str(row["license"] or "not stated"), tools)
                if len(seeds) == self.limit:
                    break
        if not seeds:
            skipped = "; ".join(f"{count} × {kind} ({self.problems[kind]})" for kind, count in self.skipped.items())
            raise UserError(f"{self.path} was given, but none of its rows has usable tools: {skipped or 'no rows'}")
        return tuple(seeds[name] for name in sorted(seeds))

    def _tools(self, row: Mapping[str, Any]) -> tuple[ToolSpec, ...]:
        """The row's usable tools, sorted by name; empty if they are too few."""
        try:
            raw = raw_tools(row["metadata"])
        except (ValueError, RecursionError) as error:
            return self._skip("no tools", str(error))
        tools: dict[str, ToolSpec] = {}
        refused: list[str] = []
        for part in raw:
            try:
                tool = parse_tool_spec(part)
            except ValueError as error:
                refused.append(str(error))
                continue
            if tools.setdefault(tool.name, tool) is not tool:
                refused.append(f"{tool.name} appears twice")
        if len(tools) < self.min_tools:
            return self._skip("too few tools", "; ".join([f"{len(tools)} of {len(raw)} can be used", *refused[:1]]))
        for problem in refused:
            self._skip("tool", problem)
        return tuple(tools[name] for name in sorted(tools))

    def _is_repeated(self, tools: tuple[ToolSpec, ...], seen: set[bytes]) -> bool:
        digest = _digest(tools)
        if digest in seen:
            self._skip("seen before", tools[0].name)
            return True
        seen.add(digest)
        return False

    def _skip(self, kind: str, problem: str) -> tuple[ToolSpec, ...]:
        self.skipped[kind] += 1
        self.problems.setdefault(kind, problem)
        return ()


def raw_tools(metadata: Any) -> list[Any]:
    """The list under "tools" in `metadata`, a JSON string. Raises ValueError if it is missing, empty or not a list."""
    try:
        parsed = json.loads(metadata) if isinstance(metadata, str) else metadata
        tools = parsed.get("tools") if isinstance(parsed, dict) else None
        tools = json.loads(tools) if isinstance(tools, str) else tools
    except ValueError as error:
        raise ValueError(f"metadata is not JSON: {error}") from None
    if not isinstance(tools, list) or not tools:
        raise ValueError('metadata has no list under "tools"')
    return tools


def _name(uuid: str, tools: tuple[ToolSpec, ...], taken: Mapping[str, Seed]) -> str:
    """nemotron_ plus the shortest unused prefix of the row's uuid: eight digits, rarely more."""
    digits = "".join(filter(str.isalnum, uuid)) or _digest(tools).hex()
    lengths = [*range(8, len(digits), 4), len(digits)]
    free = (name for length in lengths if (name := f"nemotron_{digits[:length]}") not in taken)
    return next(free, f"nemotron_{_digest(tools).hex()}")


def _digest(tools: tuple[ToolSpec, ...]) -> bytes:
    text = json.dumps([tool.model_dump() for tool in tools], sort_keys=True)
    return hashlib.sha256(text.encode()).digest()


def _seed(name: str, licence: str, tools: tuple[ToolSpec, ...]) -> Seed:
    return Seed(name=name, title=title_of("", tool_nouns(tools)), source="nemotron", licence=licence, tools=tools)
