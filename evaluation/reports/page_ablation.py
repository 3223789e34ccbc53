"""An experiment on a page: its verdicts first, then the cells, the power plan, every result behind them, and the trials
of all cells side by side."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from core.figures import svg
from core.messages import Frozen
from core.page.contents import Block, Cell, Figure, Grid, GridRow, Notice, Row, Section, Table, Tile, Tiles, Transcript
from core.settings import UserError
from evaluation.ablation.analysis import Analysis
from evaluation.ablation.power_plan import PowerPlan
from evaluation.ablation.registry import Entry
from evaluation.reports.ablation import PLAN, RESULTS, STYLES, cell_table, plan_table, verdict_table
from evaluation.reports.ablation_figure import drawn
from evaluation.reports.page_records import outcome, transcript_key
from evaluation.reports.page_sections import natural
from evaluation.reports.page_transcripts import transcripts
from evaluation.reports.paper_table import PaperTable
from evaluation.trials import TrialRecord

_Model = TypeVar("_Model", bound=Frozen)

_IN_WORDS = ("difference", "verdict", "why", "cell", "seeds")
"""Columns of tables that are aligned left."""


@dataclass(frozen=True)
class Result:
    """A line of the registry, and the trials of its evaluation `run`; without any if that is not there."""

    entry: Entry
    run: Path
    records: tuple[TrialRecord, ...]

    def key(self, record: TrialRecord) -> str:
        """The key of a trial's transcript on the page."""
        return f"{self.entry.measured.cell}/{self.entry.measured.seed}/{record.key}"


def read_analysis(directory: Path) -> Analysis:
    """The results in outputs/ablations/<experiment>/. Raises UserError without any, or for another version's."""
    return _read(Analysis, directory, RESULTS)


def shown(analysis: Analysis, results: Sequence[Result]) -> list[Result]:
    """The newest result of each cell and seed of the experiment, in its order."""
    newest = {(r.entry.measured.cell, r.entry.measured.seed): r for r in sorted(results, key=_finished)}
    keys = [(cell.cell, seed) for cell in analysis.cells for seed in cell.seeds]
    return [newest[key] for key in keys if key in newest]


def _finished(result: Result) -> str:
    return result.entry.finished


def sections(directory: Path, analysis: Analysis, results: Sequence[Result]) -> tuple[Section, ...]:
    """What outputs/ablations/<experiment>/ shows, with all `results` of the experiment. Raises UserError without a
    plan, and for one of another version."""
    plan = _read(PowerPlan, directory, PLAN)
    found = (
        Section(key="verdicts", title="Verdicts", blocks=(*_verdicts(analysis), *_figure(analysis))),
        Section(key="cells", title="Cells", blocks=(_table(cell_table(analysis)),)),
        Section(key="plan", title="Power plan", blocks=(_table(plan_table(plan)),)),
        Section(key="results", title="Results", blocks=(_results(results),)),
        Section(key="trials", title="Trials", blocks=tuple(_grids(analysis, shown(analysis, results)))),
    )
    return tuple(section for section in found if section.blocks)


def _read(kind: type[_Model], directory: Path, name: str) -> _Model:
    try:
        return kind.model_validate_json((directory / name).read_text())
    except (OSError, ValidationError) as error:
        raise UserError(
            f"{directory} has no {name} that can be shown ({str(error).splitlines()[0]}); `make ablation "
            f"ablation={directory.name}`, with the settings that it had, writes it from the registry"
        ) from error


def trial_transcripts(results: Sequence[Result], chosen: Container[str]) -> Iterator[Transcript]:
    """The transcripts of the trials with the `chosen` keys (Result.key)."""
    for result in results:
        keys = {transcript_key(record): key for record in result.records if (key := result.key(record)) in chosen}
        measured = result.entry.measured
        of_cell = {"cell": (measured.cell,), "seed": (str(measured.seed),)}
        for transcript in transcripts(result.run, keys) if keys else ():
            facets = of_cell | {name: values for name, values in transcript.facets.items() if name != "model"}
            title = f"{transcript.title} · {measured.cell} · seed {measured.seed}"
            changes = {"key": keys[transcript.key], "title": title, "facets": facets}
            yield transcript.model_copy(update=changes)


def _verdicts(analysis: Analysis) -> list[Block]:
    counts: Counter[str] = Counter(claim.verdict.decision for claim in analysis.claims)
    blocks: list[Block] = []
    if len({seed for cell in analysis.cells for seed in cell.seeds}) < 2:
        text = "One seed resolves nothing: another training could differ by more than the cells do."
        blocks.append(Notice(level="warning", text=text))
    if missing := [cell.name for cell in analysis.cells if not cell.seeds]:
        blocks.append(Notice(level="warning", text=f"Not measured: {', '.join(missing)}."))
    tiles = [Tile(label=name, value=str(counts[name]), detail=f"of {len(analysis.claims)} claims") for name in STYLES]
    return [*blocks, Tiles(tiles=tuple(tiles)), _table(verdict_table(analysis))]


def _figure(analysis: Analysis) -> list[Block]:
    drawing = drawn(analysis)
    if not drawing:
        return []
    measured = [claim for claim in analysis.claims if claim.effect]
    words = [
        f"{analysis.name(claim.claim)}: {100 * claim.effect.value:+.1f} points, {claim.verdict.decision}"
        for claim in measured
        if claim.effect
    ]
    return [Figure(title="Differences", svg=svg(drawing), alt="; ".join(words))]


def _table(table: PaperTable) -> Table:
    return Table(
        title=table.title,
        columns=table.columns,
        rows=tuple(Row(cells=cells) for cells in table.rows),
        numeric=tuple(number for number, column in enumerate(table.columns) if column not in _IN_WORDS),
        note="\n".join(table.notes),
    )


def _results(results: Sequence[Result]) -> Table:
    entries = [result.entry for result in sorted(results, key=_finished, reverse=True)]
    stages = list(dict.fromkeys(stage for entry in entries for stage in entry.runs))
    rows = []
    for entry in entries:
        measured = entry.measured
        runs = [entry.runs[stage].run if stage in entry.runs else "–" for stage in stages]
        counts = (f"{measured.dialogues:,}", f"{measured.trained_tokens:,}")
        commits = ", ".join(entry.commits)
        rows.append(
            Row(
                cells=(
                    measured.cell,
                    str(measured.seed),
                    measured.profile,
                    *counts,
                    *runs,
                    commits,
                    entry.finished[:16],
                )
            )
        )
    return Table(
        title="Every result of this experiment in the registry, newest first",
        columns=("cell", "seed", "profile", "dialogues", "trained tokens", *stages, "commits", "finished"),
        rows=tuple(rows),
        numeric=(3, 4),
        note="`make report run=outputs/ablations/runs/<stage>/<run>` shows the dialogues and trials of one of them.",
    )


def _grids(analysis: Analysis, results: Sequence[Result]) -> Iterator[Grid]:
    """A grid for each category: a row for each task, a column for each of the experiment's cells."""
    names = {cell.cell: cell.name for cell in analysis.cells}
    cells = list(dict.fromkeys(result.entry.measured.cell for result in results))
    by_category: dict[str, dict[str, dict[str, list[Cell]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for result in results:
        for record in result.records:
            found = Cell(outcome=outcome(record), transcript=result.key(record))
            category = f"{record.benchmark}/{record.category}"
            by_category[category][record.task_id][result.entry.measured.cell].append(found)
    for category, tasks in by_category.items():
        rows = tuple(
            GridRow(task=task, cells=tuple(tuple(tasks[task][cell]) for cell in cells))
            for task in sorted(tasks, key=natural)
        )
        note = "Several trials of a cell are those of its seeds, in their order."
        yield Grid(title=category, models=tuple(names[cell] for cell in cells), rows=rows, note=note)
