"""Seeds from your own tools: JSONL files of function specs, or of complete domains."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from core.messages import Frozen, ToolSpec
from core.settings import UserError
from generation.seeds.base import Rows, Seed
from generation.specs.formats import parse_tool_spec
from generation.specs.titles import title_of, tool_nouns


class _DomainLine(Frozen):
    """A line that defines a complete domain."""

    domain: str = Field(min_length=1)
    title: str | None = None
    description: str | None = None
    tools: tuple[ToolSpec, ...] = Field(min_length=1)
    licence: str | None = None
    rows: Rows = Field(default_factory=dict)

    @field_validator("tools", mode="before")
    @classmethod
    def _read(cls, raw: Any) -> Any:
        if not isinstance(raw, list):
            raise ValueError("expected: a list of tools")
        tools: dict[str, ToolSpec] = {}
        for number, part in enumerate(raw, start=1):
            try:
                _add(tools, part)
            except ValueError as error:
                raise ValueError(f"tool {number}: {error}") from None
        return tuple(tools.values())


class ToolSeeds:
    """The tools in the files `paths`. Each line is either one tool, in any format that `generation.specs.formats`
    parses (all such lines of a file form one domain, named by the file's stem), or a domain: {"domain", "tools"} with
    optional "title", "description" (see Seed), "licence" and example "rows". `licence` applies to domains that state
    none."""

    def __init__(self, paths: Sequence[str | Path], licence: str = "not stated") -> None:
        self.paths = paths
        self.licence = licence

    def load(self) -> tuple[Seed, ...]:
        if isinstance(self.paths, str) or not self.paths:
            raise UserError(f"paths={self.paths} was given, but a list of files is expected: paths=[tools.jsonl]")
        seeds: dict[str, Seed] = {}
        places: dict[str, str] = {}
        for path in map(Path, self.paths):
            for where, domain in _domains(path):
                if domain.domain in seeds:
                    raise UserError(
                        f"{where}: the domain {domain.domain!r} was defined before, in {places[domain.domain]}"
                    )
                seeds[domain.domain], places[domain.domain] = self._seed(domain), where
        return tuple(seeds[name] for name in sorted(seeds))

    def _seed(self, domain: _DomainLine) -> Seed:
        return Seed(
            name=domain.domain,
            title=domain.title or title_of(domain.domain, tool_nouns(domain.tools)),
            description=domain.description or "",
            source="tools",
            licence=domain.licence or self.licence,
            tools=domain.tools,
            rows=domain.rows,
        )


def _domains(path: Path) -> Iterator[tuple[str, _DomainLine]]:
    """(location, domain) for each domain of the file; the domain of the single tools comes last."""
    tools: dict[str, ToolSpec] = {}
    empty = True
    for where, raw in _lines(path):
        empty = False
        try:
            if "tools" in raw:
                yield where, _DomainLine.model_validate(raw)
            else:
                _add(tools, raw)
        except ValidationError as error:
            first = error.errors()[0]
            problem = f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}"
            raise UserError(f"{where}: {problem}") from None
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None
    if empty:
        raise UserError(f"{path} was given, but it is empty; expected: a tool, or a domain with tools, on each line")
    if tools:
        yield str(path), _DomainLine.model_construct(domain=path.stem, tools=tuple(tools.values()))


def _add(tools: dict[str, ToolSpec], raw: Any) -> None:
    tool = parse_tool_spec(raw)
    if tools.setdefault(tool.name, tool) is not tool:
        raise ValueError(f"the tool {tool.name} appears twice")


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file and line number, JSON object) for each non-blank line."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} was given, but it cannot be read; expected: JSONL of tools ({error})") from None
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                raw = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UserError(f"{where}: not JSON: {error}") from None
            if not isinstance(raw, dict):
                raise UserError(f"{where}: expected an object: a tool, or a domain with tools")
            yield where, raw
