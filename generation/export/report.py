"""The report of an export: its input, the removals and their reasons, and Table 1 of the exported dialogues."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import Field

from core.messages import Frozen
from generation.export.decontamination import BenchmarkReport
from generation.export.dedup import Removal
from generation.export.index import Entry
from generation.export.provenance import DialogueOrigin, ProvenanceSummary, summarise_provenance
from generation.export.task_hash import set_hash
from generation.metrics.statistics import MeanMax


class Table1Row(Frozen):
    """One row of Table 1: mean (max) over a pipeline's dialogues from one source of seeds."""

    pipeline: str
    source: str
    step: MeanMax
    turn: MeanMax
    task: MeanMax
    samples: int


class PipelineReport(Frozen):
    """Counts of dialogues: read = kept + removed, the latter by reason."""

    read: int
    kept: int
    removed: dict[str, int]


class TaskSet(Frozen):
    """The tasks of the exported dialogues: their number, how many of them differ, and the one hash of these."""

    tasks: int
    distinct: int
    hash: str


class Report(Frozen):
    """report.json. `unvalidated` counts exported dialogues without an accepting verdict (no validation stage). `uses`
    has the number of dialogues, tasks or pairs of each use, `tried_for_preferences` that of the tasks that could have
    given pairs."""

    run: str
    settings: dict[str, Any]
    pipelines: dict[str, PipelineReport]
    unvalidated: int
    tasks: TaskSet
    uses: dict[str, int] = Field(default_factory=dict)
    tried_for_preferences: int = 0
    statistics: tuple[Table1Row, ...]
    contamination: dict[str, BenchmarkReport]
    provenance: ProvenanceSummary


def report(
    run: str,
    settings: dict[str, Any],
    entries: Sequence[Entry],
    removals: Sequence[Removal],
    origins: Sequence[DialogueOrigin],
    contamination: dict[str, BenchmarkReport],
) -> Report:
    """Summarize an export: `entries` are all dialogues read, `settings` those that decided the removals."""
    removed = {removal.dialogue_id for removal in removals}
    kept = [entry for entry in entries if entry.dialogue_id not in removed]
    reasons: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for removal in removals:
        reasons[removal.pipeline][removal.why] += 1
    read_counts, kept_counts = Counter(entry.pipeline for entry in entries), Counter(entry.pipeline for entry in kept)
    return Report(
        run=run,
        settings=settings,
        pipelines={
            name: PipelineReport(
                read=read_counts[name], kept=kept_counts[name], removed=dict(sorted(reasons[name].items()))
            )
            for name in sorted(read_counts)
        },
        unvalidated=sum(not entry.validated for entry in kept),
        tasks=_task_set([digest.hex() for entry in kept for digest in entry.task_hashes]),
        statistics=table_1(kept, origins),
        contamination=contamination,
        provenance=summarise_provenance(kept, origins),
    )


def _task_set(hashes: Sequence[str]) -> TaskSet:
    return TaskSet(tasks=len(hashes), distinct=len(set(hashes)), hash=set_hash(hashes))


def table_1(entries: Iterable[Entry], origins: Sequence[DialogueOrigin]) -> tuple[Table1Row, ...]:
    groups: defaultdict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.pipeline, origins[entry.origin].source].append(entry)
    return tuple(_row(pipeline, source, group) for (pipeline, source), group in sorted(groups.items()))


def _row(pipeline: str, source: str, group: Sequence[Entry]) -> Table1Row:
    """Turns and tasks are averaged over dialogues, steps over requests that used tools."""
    samples = len(group)
    steps, requests = sum(entry.steps[0] for entry in group), sum(entry.steps[1] for entry in group)
    return Table1Row(
        pipeline=pipeline,
        source=source,
        step=_mean_max(steps, requests, max(entry.steps[2] for entry in group)),
        turn=_mean_max(sum(entry.turns for entry in group), samples, max(entry.turns for entry in group)),
        task=_mean_max(sum(entry.tasks for entry in group), samples, max(entry.tasks for entry in group)),
        samples=samples,
    )


def _mean_max(total: int, count: int, largest: int) -> MeanMax:
    return MeanMax(mean=round(total / count, 3) if count else 0.0, max=largest)
