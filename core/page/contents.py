"""What a page consists of: sections of tiles, tables, figures and grids, and transcripts to browse.

Texts are plain: the page escapes them. The stages describe what they want to show with these types; core.page.page
writes the file.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from core.messages import Frozen

Filter = dict[str, str]
"""Facet -> value: the transcripts that a row or a tile leads to."""


class Notice(Frozen):
    """A sentence that must not be missed."""

    block: Literal["notice"] = "notice"
    level: Literal["info", "warning", "error"]
    text: str


class Tile(Frozen):
    """One number with its name; `detail` is its interval, or what it is of."""

    label: str
    value: str
    detail: str = ""
    filter: Filter = Field(default_factory=dict)


class Tiles(Frozen):
    block: Literal["tiles"] = "tiles"
    tiles: tuple[Tile, ...]


class Row(Frozen):
    """The cells of one row, as they are shown; a row with a `filter` leads to these transcripts."""

    cells: tuple[str, ...]
    filter: Filter = Field(default_factory=dict)


class Table(Frozen):
    """A table; `numeric` are the indices of columns that are aligned right."""

    block: Literal["table"] = "table"
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    numeric: tuple[int, ...] = ()
    note: str = ""


class Figure(Frozen):
    """A drawing as SVG, made by core.figures.svg, so trusted; `alt` says in words what it shows."""

    block: Literal["figure"] = "figure"
    title: str
    svg: str
    alt: str
    note: str = ""


class Cell(Frozen):
    """The outcome of one trial; `transcript` is the key of what to open, if it was kept."""

    outcome: Literal["passed", "failed", "error", "missing"]
    transcript: str = ""


class GridRow(Frozen):
    """One task: a list of trials for each model, in the order of `Grid.models`."""

    task: str
    cells: tuple[tuple[Cell, ...], ...]


class Grid(Frozen):
    """Tasks × trials of one or several models. Two cells of a row can be compared side by side."""

    block: Literal["grid"] = "grid"
    title: str
    models: tuple[str, ...]
    rows: tuple[GridRow, ...]
    note: str = ""


Block = Annotated[Notice | Tiles | Table | Figure | Grid, Field(discriminator="block")]


class Section(Frozen):
    """A part of the page; `key` is its anchor."""

    key: str
    title: str
    blocks: tuple[Block, ...]


class Mark(Frozen):
    """What is remarkable about a message or a call: a gold call was made, a value that had to be told was told, a rule
    was broken, the state changed, the user simulator went wrong."""

    kind: Literal["gold", "told", "broken_rule", "change", "fault"]
    text: str
    task: int | None = None


class CallView(Frozen):
    """A tool call with its result; `arguments` and `result` as they were written."""

    name: str
    arguments: str
    result: str | None = None
    marks: tuple[Mark, ...] = ()


class MessageView(Frozen):
    """A message. Tool messages stand in the calls that they answer. `index` is its place in the dialogue's messages,
    and its permalink."""

    index: int
    role: Literal["system", "user", "assistant"]
    content: str = ""
    reasoning: str = ""
    calls: tuple[CallView, ...] = ()
    marks: tuple[Mark, ...] = ()


class Expected(Frozen):
    """A gold call or a value to be told, and the message (its index) at which it was met; None: it was not."""

    text: str
    met_at: int | None = None


class CheckView(Frozen):
    """A decidable statement, and whether it is true."""

    name: str
    passed: bool
    detail: str = ""


class TaskView(Frozen):
    """A task with its proof and the judge's opinion: `facts` are short pairs such as ("kind", "ambiguous")."""

    goal: str
    start: int | None = None
    facts: tuple[tuple[str, str], ...] = ()
    gold_calls: tuple[Expected, ...] = ()
    told_values: tuple[Expected, ...] = ()
    checks: tuple[CheckView, ...] = ()
    judgment: str = ""
    judge_reasoning: str = ""


class Branch(Frozen):
    """A dialogue that was forked from `parent` (the key of another transcript, or "" if that is not in the page) and
    shares its first `shared` messages with it."""

    parent: str
    shared: int


class Transcript(Frozen):
    """One dialogue of a generation or one trial of an evaluation.

    `key` is unique in the page, and its permalink. `same_task` is equal for all trials of a task, by any model; two of
    them can be put side by side. `facets` are what the list is filtered by: name -> values. `text` is a transcript that
    was recorded as text only.
    """

    key: str
    title: str
    outcome: Literal["accepted", "rejected", "failed", "passed", "error"]
    reason: str = ""
    same_task: str = ""
    facets: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    tasks: tuple[TaskView, ...] = ()
    checks: tuple[CheckView, ...] = ()
    changes: tuple[str, ...] = Field(default=(), description="the difference of the state after the whole dialogue")
    messages: tuple[MessageView, ...] = ()
    branch: Branch | None = None
    text: str = ""


class Page(Frozen):
    """Everything but the transcripts. `about` says in a sentence or two what the page is about; `lineage` are short
    pairs such as ("commit", "1f2e3d")."""

    title: str
    about: str = ""
    lineage: tuple[tuple[str, str], ...] = ()
    sections: tuple[Section, ...] = ()
    transcripts_note: str = Field(default="", description='such as "5,000 of 12,000 dialogues, drawn at random"')
