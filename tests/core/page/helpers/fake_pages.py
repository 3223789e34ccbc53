"""Pages of made-up dialogues: any number of them, and always the same."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from random import Random

from core.page.contents import (
    Branch,
    CallView,
    Cell,
    CheckView,
    Expected,
    Grid,
    GridRow,
    Mark,
    MessageView,
    Notice,
    Page,
    Row,
    Section,
    Table,
    TaskView,
    Tile,
    Tiles,
    Transcript,
)

WORDS = 3000
DOMAINS = ("gym", "library", "airline", "retail")
REASONS = ("", "state differs", "value not told", "rule broken")
_SYLLABLES = re.findall("..", "badekilomunaperisotuvawexiyozachadrefligroplustertonmenting")


class Writer:
    """Sentences of words that are as unevenly used as those of a language."""

    def __init__(self, seed: int) -> None:
        made = Random(0)
        self._words = ["".join(made.choices(_SYLLABLES, k=made.randint(1, 3))) for _ in range(WORDS)]
        self._weights = list(itertools.accumulate(1 / rank for rank in range(1, WORDS + 1)))
        self.random = Random(seed)

    def text(self, words: int) -> str:
        chosen = self.random.choices(self._words, cum_weights=self._weights, k=words)
        return " ".join(chosen).capitalize() + "."


def fake_page(transcripts: int) -> Page:
    """A page whose grid, tiles and table lead to the transcripts of `fake_transcripts`."""
    counts = (
        Tile(label="dialogues", value=str(transcripts)),
        Tile(label="rejected", value="¼", filter={"reason": "rule broken"}),
    )
    rows = tuple(
        Row(cells=(domain, f"{number * 3.5:.1f}"), filter={"domain": domain}) for number, domain in enumerate(DOMAINS)
    )
    overview = Section(
        key="overview",
        title="Overview",
        blocks=(
            Notice(level="warning", text="These dialogues are made up."),
            Tiles(tiles=counts),
            Table(title="Domains", columns=("domain", "score"), rows=rows, numeric=(1,), note="Made up, too."),
        ),
    )
    trials = Section(key="trials", title="Trials", blocks=(_grid(transcripts),))
    return Page(
        title="Fake dialogues",
        lineage=(("commit", "1f2e3d4"), ("run", "2026-11-28")),
        sections=(overview, trials),
        transcripts_note=f"All {transcripts} dialogues.",
    )


def _grid(transcripts: int) -> Grid:
    def cell(number: int) -> Cell:
        outcome = "passed" if number % 4 == 0 else "failed"
        return Cell(outcome=outcome, transcript=f"d{number}") if number < transcripts else Cell(outcome="missing")

    rows = tuple(
        GridRow(task=f"task {row}", cells=((cell(4 * row), cell(4 * row + 1)), (cell(4 * row + 2), cell(4 * row + 3))))
        for row in range(6)
    )
    return Grid(title="Tasks and trials", models=("base", "trained"), rows=rows)


def fake_transcripts(number: int, messages: int = 20, seed: int = 1) -> Iterator[Transcript]:
    """Dialogues d0, d1, …: four trials of each task; every tenth (d9, d19, …) is forked from the one before it."""
    writer = Writer(seed)
    system = writer.text(250)
    before: Transcript | None = None
    for index in range(number):
        reason = REASONS[index % 4]
        views = tuple(_message(writer, place, system) for place in range(messages + 1))
        branch = None
        if index % 10 == 9 and before is not None:
            branch = Branch(parent=before.key, shared=messages // 2)
            views = before.messages[: messages // 2] + views[messages // 2 :]
        elif before is not None and index % 4:
            views = before.messages[:2] + views[2:]
        before = Transcript(
            key=f"d{index}",
            title=f"Dialogue {index}: {writer.text(5)}",
            outcome="rejected" if reason else "accepted",
            reason=reason,
            same_task=f"task-{index // 4}",
            facets={
                "domain": (DOMAINS[index % len(DOMAINS)],),
                "difficulty": (("easy", "medium", "hard")[index // 2 % 3],),
                "tools": tuple(f"tool_{tool}" for tool in sorted({index % 7, index % 5})),
            },
            tasks=(_task(writer, reason),),
            checks=(CheckView(name="state", passed=reason != "state differs", detail=reason),),
            changes=(f"members[{index}].name: 'Ann' → 'Zoë'",),
            messages=views,
            branch=branch,
        )
        yield before


def _task(writer: Writer, reason: str) -> TaskView:
    return TaskView(
        goal=writer.text(30),
        start=1,
        facts=(("kind", "clear"), ("difficulty", "easy")),
        gold_calls=(Expected(text='get_member({"member_id": 3})', met_at=2), Expected(text="rename_member()")),
        told_values=(Expected(text="Zoë", met_at=4),),
        checks=(CheckView(name="told", passed=reason != "value not told"),),
        judgment="solved",
        judge_reasoning=writer.text(60),
    )


def _message(writer: Writer, place: int, system: str) -> MessageView:
    if place == 0:
        return MessageView(index=0, role="system", content=system)
    if place % 4 == 1:
        return MessageView(index=place, role="user", content=writer.text(20))
    if place % 4 == 2:
        rows = [
            {"id": writer.random.randrange(10**6), "name": writer.text(2), "note": writer.text(6)} for _ in range(3)
        ]
        call = CallView(
            name=f"tool_{writer.random.randrange(7)}",
            arguments=json.dumps({"member_id": writer.random.randrange(10**6), "name": writer.text(2)}),
            result=json.dumps({"rows": rows}),
            marks=(Mark(kind="gold", text="get_member", task=0),) if place == 2 else (),
        )
        return MessageView(index=place, role="assistant", reasoning=writer.text(50), calls=(call,))
    return MessageView(
        index=place,
        role="assistant",
        reasoning=writer.text(30),
        content=writer.text(30),
        marks=(Mark(kind="told", text="Zoë", task=0),) if place == 4 else (),
    )
