"""The sections that a generation run contributes to a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.journal import RecordError
from core.manifest import Manifest
from core.page.contents import Block, Notice, Section, Table, Tile, Tiles
from generation.metrics.statistics import Statistics
from generation.report.content import decimal, number, share, spread, table
from generation.report.counts import Counts
from generation.report.drawings import diversity_curves, histograms
from generation.report.judging import cost_tables, draft_tables, judge_tables, user_tables
from generation.report.notices import pipeline_notices, run_notices
from generation.report.records import PipelineRecords, pipelines_of, read_statistics
from generation.report.rejections import rejection_tables
from generation.report.requests import request_tables, task_tables


@dataclass(frozen=True)
class _Pipeline:
    records: PipelineRecords
    statistics: Statistics | None
    counts: Counts

    @property
    def name(self) -> str:
        return self.records.name


def sections(run: Path, manifest: Manifest) -> tuple[Section, ...]:
    """The sections of one generation run, finished or interrupted, warnings first; every section has content.

    Reads each dialogue once; memory holds one at a time. A file that cannot be read becomes a warning.
    """
    begun = pipelines_of(run, manifest)
    n = manifest.config.get("n")
    notices: list[Block] = list(run_notices(run, manifest, begun))
    pipelines: list[_Pipeline] = []
    for records in begun:
        try:
            pipelines.append(_read(records, manifest))
        except RecordError as error:
            notices.append(Notice(level="error", text=f"{records.name} cannot be read: {error}"))
            continue
        notices += pipeline_notices(records, pipelines[-1].statistics, pipelines[-1].counts, n)
    known = [pipeline.statistics for pipeline in pipelines if pipeline.statistics]
    counted = {pipeline.name: pipeline.counts for pipeline in pipelines}
    diversities = {s.pipeline: s.diversity for s in known if s.diversity}
    contents: dict[tuple[str, str], Sequence[Block]] = {
        ("generation", "Generated dialogues"): [
            *notices,
            *(_tiles(pipeline, n, len(pipelines) > 1) for pipeline in pipelines),
            *_table_1(known),
            *histograms(counted),
        ],
        ("requests", "What was asked for and what came"): [
            block for p in pipelines for block in request_tables(p.name, p.statistics, p.counts)
        ],
        ("rejections", "Rejections"): [block for p in pipelines for block in rejection_tables(p.name, p.counts)],
        ("tasks", "Tasks of a dialogue"): [block for s in known for block in task_tables(s.pipeline, s)],
        ("diversity", "Diversity"): [
            *diversity_curves(diversities),
            *(block for s in known for block in _diversity_table(s)),
        ],
        ("judge", "Judge and execution"): [block for s in known for block in judge_tables(s.pipeline, s)],
        ("user-simulator", "User simulator"): [
            block for p in pipelines if p.statistics for block in user_tables(p.name, p.statistics, p.counts)
        ],
        ("drafts", "Refused drafts and flawed answers"): [
            block for s in known for block in draft_tables(s.pipeline, s)
        ],
        ("cost", "Cost"): cost_tables(known),
    }
    return tuple(
        Section(key=key, title=title, blocks=tuple(blocks)) for (key, title), blocks in contents.items() if blocks
    )


def _read(records: PipelineRecords, manifest: Manifest) -> _Pipeline:
    statistics = read_statistics(records, manifest)
    quality = statistics.quality if statistics else None
    counts = Counts({str(kind): example for kind, example in quality.examples.items()} if quality else {})
    for outcome in records.outcomes():
        counts.add(outcome)
    return _Pipeline(records, statistics, counts)


def _tiles(pipeline: _Pipeline, asked: int | None, named: bool) -> Tiles:
    status, name = pipeline.counts.status, pipeline.name
    started = status.total()
    tiles = [
        Tile(
            label=f"{name}: started" if named else "started",
            value=number(started),
            detail=f"of {asked:,} asked for" if asked else "",
            filter={"pipeline": name},
        )
    ]
    tiles += [
        Tile(
            label=ending,
            value=number(status[ending]),
            detail=f"{share(status[ending], started)} of the started",
            filter={"pipeline": name, "outcome": ending},
        )
        for ending in ("accepted", "rejected", "failed")
    ]
    return Tiles(tiles=tuple(tiles))


def _table_1(known: Sequence[Statistics]) -> list[Table]:
    columns = ("pipeline", "step", "turn", "task", "user turns", "accepted", "s/dialogue", "tokens/s")
    return table(
        "Dialogue statistics: mean (max)",
        columns,
        (
            (
                (
                    s.pipeline,
                    *map(spread, (s.step, s.turn, s.task, s.user_turns)),
                    number(s.accepted),
                    decimal(s.latency_s),
                    number(s.throughput),
                ),
                {"pipeline": s.pipeline, "outcome": "accepted"},
            )
            for s in known
        ),
        note="Of accepted dialogues; Table 1 and Table 4 of the paper.",
    )


def _diversity_table(s: Statistics) -> list[Table]:
    traits = ("goal_skeletons", "subgoal_skeletons", "plan_shapes", "system_prompts", "tools_used", "tools_declared")
    columns = ("dialogues", "goals", "subgoals", "plan shapes", "system prompts", "tools in gold calls", "tools")
    return table(
        f"{s.pipeline}: distinct among random subsets of the accepted dialogues",
        columns,
        (
            ((number(point.dialogues), *(number(getattr(point, trait)) for trait in traits)), {})
            for point in (s.diversity.curve if s.diversity else ())
        ),
        labels=0,
        note="Goals and subgoals without their values.",
    )
