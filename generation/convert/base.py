"""Converts public tool-use datasets into dialogues, for the baselines of Table 2; counts faulty rows by kind."""

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
from generation.specs.formats import add_tool, parse_tool_spec
from generation.specs.naming import changes
from generation.start_states.chat_formats import parse_conversation
from generation.tasks.difficulty import Effort, difficulty


class ConvertSettings(Settings):
    """conf/convert.yaml."""

    outputs: Path = Field(description="folder of all runs' outputs")
    source: dict[str, Any] = Field(description="the dataset to convert: `_target_` of a `Source` and its arguments")
    limit: int | None = Field(ge=1, description="rows to read at most; null: all")


@dataclass(frozen=True)
class Row:
    """One row of a dataset: `conversation` in a form that `chat_formats.parse_conversation` accepts, `tools` as given
    in the row (unparsed), `key` its id in the dataset, `domain` if known; a `columnar` source pads
    objects with nulls."""

    conversation: Mapping[str, Any]
    tools: Any
    key: str
    licence: str
    domain: str | None = None
    columnar: bool = False


class Source(Protocol):
    """A dataset. `name` becomes the dialogues' pipeline, by which a training mixture selects them."""

    name: str
    path: str | Path

    def rows(self) -> Iterator[Row]:
        """Every row, in order. Raises UserError if the dataset cannot be read."""
        ...


@dataclass
class Conversion:
    """Converts rows one at a time. `refused` counts rows by fault and `repaired` the repairs in accepted rows;
    `examples` shows the first row of each kind of fault."""

    source: Source
    read: int = 0
    kept: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def lines(self, limit: int | None) -> Iterator[str]:
        """A line of dialogues.jsonl for each of the first `limit` rows that satisfies the message contract and contains
        an answer to train on."""
        seen: set[str] = set()
        for row in self.source.rows():
            self.read += 1
            repaired: Counter[str] = Counter()
            try:
                dialogue = convert(row, self.source, repaired)
                if dialogue.dialogue_id in seen:
                    raise ContractError("its id occurred in an earlier row", "repeated id")
                line = dump_line(dialogue)
            except ContractError as error:
                self._refuse(row, error.kind, str(error))
            except (ValueError, RecursionError) as error:
                self._refuse(row, "unreadable", str(error))
            else:
                seen.add(dialogue.dialogue_id)
                self.repaired += repaired
                self.kept += 1
                yield line
            if self.read == limit:
                return

    def _refuse(self, row: Row, kind: str, why: str) -> None:
        self.refused[kind] += 1
        self.examples.setdefault(kind, f"row {self.read} ({row.key}): {why}"[:300])

    def metrics(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "rows": self.read,
            "dialogues": self.kept,
            "refused": dict(self.refused.most_common()),
            "repaired": dict(self.repaired.most_common()),
            "examples": self.examples,
        }


def convert(row: Row, source: Source, repaired: Counter[str]) -> Dialogue:
    """Convert a row into a dialogue with one task: its goal is the first request, its difficulty that of its calls.

    Counts repairs in `repaired`. Raises ContractError or ValueError for a row that cannot be trained on.
    """
    tools = _tools(row.tools, repaired)
    parsed = parse_conversation(row.conversation, tools, row.columnar)
    repaired.update(parsed.repaired)
    messages = tuple(parsed.messages)
    requests = [number for number, message in enumerate(messages) if isinstance(message, UserMessage)]
    if not requests:
        kind = "unanswered call" if parsed.repaired["open calls at the end"] else "empty"
        raise ContractError("no request with an answer remains", kind)
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


def _tools(raw: Any, repaired: Counter[str]) -> tuple[ToolSpec, ...]:
    """The specs that can be parsed. Calls of the others count as calls of undeclared tools."""
    try:
        declared = json.loads(raw) if isinstance(raw, str) else raw or []
    except ValueError as error:
        raise ContractError(f"its tools are not JSON: {error}", "unusable tools") from None
    if not isinstance(declared, list):
        raise ContractError("its tools are not a list of function specs", "unusable tools")
    tools: dict[str, ToolSpec] = {}
    for part in declared:
        try:
            tool = parse_tool_spec(part)
        except ValueError:
            repaired["unusable tool left out"] += 1
            continue
        if not add_tool(tools, tool):
            repaired["repeated tool left out"] += 1
    return tuple(tools.values())


def _effort(messages: tuple[Message, ...]) -> Effort:
    """The effort of the calls made, since rows have no plan; dependencies between calls are unknown and count as 0."""
    names = [
        call.name for message in messages if isinstance(message, AssistantMessage) for call in message.tool_calls or ()
    ]
    return Effort(calls=len(names), dependencies=0, writes=sum(map(changes, names)))


def _digest(tools: tuple[ToolSpec, ...]) -> str:
    text = json.dumps(sorted(tool.model_dump_json() for tool in tools))
    return hashlib.sha256(text.encode()).hexdigest()[:8]
