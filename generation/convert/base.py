"""Public tool-use data sets as dialogues of ours, for the baselines of Table 2; what is wrong with a row is counted by kind."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import Field

from core.dialogue import Dialogue, Rubric, Task
from core.journal import dump_line
from core.messages import AssistantMessage, ContractError, Message, ToolSpec, UserMessage, check_transcript
from core.provenance import Provenance
from core.settings import Settings
from generation.specs.formats import tool_spec
from generation.specs.naming import changes
from generation.start_states.chat_formats import read
from generation.tasks.difficulty import Effort, difficulty


class ConvertSettings(Settings):
    """conf/convert.yaml. `source` is a Source as `_target_`; `limit` caps the rows that are read."""

    outputs: Path
    source: dict[str, Any]
    limit: int | None = Field(ge=1)


@dataclass(frozen=True)
class Row:
    """One row of a data set. `conversation` is as `generation.start_states.chat_formats.read` takes it, `tools` what its list of function
    specs was found to be, `key` its id in the data set, `domain` what it is about where that is known."""

    conversation: Mapping[str, Any]
    tools: Any
    key: str
    licence: str
    domain: str | None = None


class Source(Protocol):
    """A data set. `name` is the pipeline of what comes of it, by which a mixture chooses it."""

    name: str
    path: str | Path

    def rows(self) -> Iterator[Row]:
        """Raises UserError where it cannot be read."""
        ...


@dataclass
class Conversion:
    """Converts rows one at a time. `refused` counts rows by what is wrong with them, `mended` what could be put right in rows that
    were kept, with the first example of each kind of fault."""

    source: Source
    read: int = 0
    kept: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    mended: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def lines(self, limit: int | None) -> Iterator[str]:
        """A line of dialogues.jsonl for each of the first `limit` rows that satisfies the message contract and has something
        to train on."""
        seen: set[str] = set()
        for row in self.source.rows():
            self.read += 1
            mended: Counter[str] = Counter()
            try:
                dialogue = convert(row, self.source, mended)
                if dialogue.dialogue_id in seen:
                    raise ContractError("its id occurred before", "repeated id")
                line = dump_line(dialogue)
            except ContractError as error:
                self._refuse(row, error.kind, str(error))
            except (ValueError, RecursionError) as error:
                self._refuse(row, "unreadable", str(error))
            else:
                seen.add(dialogue.dialogue_id)
                self.mended += mended
                self.kept += 1
                yield line
            if self.read == limit:
                return

    def _refuse(self, row: Row, kind: str, why: str) -> None:
        self.refused[kind] += 1
        self.examples.setdefault(kind, f"row {self.read} ({row.key}): {why}"[:300])

    def figures(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "rows": self.read,
            "dialogues": self.kept,
            "refused": dict(self.refused.most_common()),
            "mended": dict(self.mended.most_common()),
            "examples": self.examples,
        }


def convert(row: Row, source: Source, mended: Counter[str]) -> Dialogue:
    """A row as a dialogue with one task, whose goal is the first request and whose difficulty is that of the calls made.

    What was put right is counted in `mended`. Raises ContractError or ValueError for a row that cannot be trained on.
    """
    reading = read(row.conversation)
    mended.update(reading.mended)
    messages, tools = tuple(reading.messages), _tools(row.tools, mended)
    requests = [number for number, message in enumerate(messages) if isinstance(message, UserMessage)]
    if not requests:
        kind = "unanswered call" if reading.mended["open calls at the end"] else "empty"
        raise ContractError("nothing is left of it that an assistant answers", kind)
    check_transcript(messages, tools)
    dialogue_id = f"{source.name}-{row.key}"
    goal = str(messages[requests[0]].content).strip()
    task = Task(
        task_id=f"{dialogue_id}/t0",
        goal=goal,
        subgoals=(goal,),
        difficulty=difficulty(_effort(messages)),
        rubric=Rubric(criteria=()),
    )
    return Dialogue(
        dialogue_id=dialogue_id,
        pipeline=source.name,
        domain=row.domain or f"{source.name}-{_digest(tools)}",
        tools=tools,
        messages=messages,
        tasks=(task,),
        task_starts=(requests[0],),
        provenance=Provenance(source=str(source.path), row=row.key, licence=row.licence),
    )


def _tools(raw: Any, mended: Counter[str]) -> tuple[ToolSpec, ...]:
    """The specs that can be understood, the first of each name. Calls of the others are then calls of undeclared tools."""
    try:
        declared = json.loads(raw) if isinstance(raw, str) else raw or []
    except ValueError as error:
        raise ContractError(f"its tools are not JSON: {error}", "unusable tools") from None
    if not isinstance(declared, list):
        raise ContractError("its tools are no list of function specs", "unusable tools")
    tools: dict[str, ToolSpec] = {}
    for part in declared:
        try:
            tool = tool_spec(part)
        except ValueError:
            mended["unusable tool left out"] += 1
            continue
        if tools.setdefault(tool.name, tool) is not tool:
            mended["repeated tool left out"] += 1
    return tuple(tools.values())


def _effort(messages: tuple[Message, ...]) -> Effort:
    """Of what was done, since no plan is known: which call needs which result is not seen."""
    called = [c.name for m in messages if isinstance(m, AssistantMessage) for c in m.tool_calls or ()]
    return Effort(calls=len(called), dependencies=0, writes=sum(map(changes, called)))


def _digest(tools: tuple[ToolSpec, ...]) -> str:
    text = json.dumps(sorted(tool.model_dump_json() for tool in tools))
    return hashlib.sha256(text.encode()).hexdigest()[:8]
