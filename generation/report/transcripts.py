"""The dialogues of a generation run to browse: a sample of them, read and replayed one at a time."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path

from core.journal import RecordError, read_jsonl
from core.manifest import Manifest, read_manifest
from core.page.contents import Transcript
from generation.environments.base import EnvironmentFactory
from generation.llm.meter import Meter
from generation.metrics.diversity import digest
from generation.outcomes import Outcome
from generation.report.records import PipelineRecords, pipelines_of, read_statistics
from generation.report.replaying import Replayed, replayed
from generation.report.transcript import transcript_key, transcript_of, unreadable_transcript
from generation.scripted.llm import ScriptedLLM
from generation.tools.toolset import Toolset

MOST_BYTES = 150_000_000
"""Of dialogues as they are recorded, which take about a tenth of that in a report: so that it stays below 20 MB."""

LEAST_NOT_ACCEPTED = 0.2
"""Smallest share of rejected and failed dialogues in a sample, if there are so many."""


@dataclass(frozen=True)
class Draw:
    """The dialogues that are shown: their ids by pipeline, and how many there are of all."""

    chosen: dict[str, frozenset[str]]
    accepted: int
    not_accepted: int
    of_accepted: int
    of_not_accepted: int
    fewer: bool = False
    """Whether they are fewer than wanted, for their length."""

    @property
    def shown(self) -> int:
        return self.accepted + self.not_accepted

    @property
    def total(self) -> int:
        return self.of_accepted + self.of_not_accepted

    @property
    def note(self) -> str:
        """Such as "5,000 of 12,000 dialogues, drawn at random: 4,000 of 11,500 accepted, 1,000 of 1,500 not"."""
        if self.shown == self.total:
            return f"all {self.total:,} dialogues"
        parts = (
            f"{self.accepted:,} of {self.of_accepted:,} accepted, {self.not_accepted:,} of {self.of_not_accepted:,} not"
        )
        why = ", as many as a file of 20 MB holds" if self.fewer else ""
        return f"{self.shown:,} of {self.total:,} dialogues, drawn at random{why}: {parts}"


def draw(run: Path, limit: int, seed: int) -> Draw:
    """Draw at most `limit` of a run's ended dialogues, and fewer if they are long, equal for the same seed.
    Rejected and failed ones have their share of all, and at least LEAST_NOT_ACCEPTED. Examples of the user
    simulator's faults are always drawn."""
    candidates: dict[bool, list[tuple[int, str, str]]] = {True: [], False: []}
    counts: Counter[bool] = Counter()
    manifest = read_manifest(run)
    for records in pipelines_of(run, manifest):
        examples = _examples(records, manifest)
        try:
            for name, status in records.heads():
                rank = -1 if name in examples else digest(str(seed), records.name, name)
                accepted = status == "accepted"
                counts[accepted] += 1
                candidates[accepted].append((rank, records.name, name))
                if len(candidates[accepted]) > 2 * limit + 1000:
                    candidates[accepted] = nsmallest(limit, candidates[accepted])
        except RecordError:  # the run's sections say so
            continue
    mean = sum(records.size for records in pipelines_of(run, manifest)) / max(1, counts.total())
    fitting = min(limit, int(MOST_BYTES // max(1, mean)))
    quota = _quota(fitting, counts[True], counts[False])
    drawn = {accepted: nsmallest(size, candidates[accepted]) for accepted, size in quota.items()}
    chosen: dict[str, set[str]] = {}
    for _, pipeline, name in (*drawn[True], *drawn[False]):
        chosen.setdefault(pipeline, set()).add(name)
    frozen = {pipeline: frozenset(names) for pipeline, names in chosen.items()}
    fewer = fitting < min(limit, counts.total())
    return Draw(frozen, len(drawn[True]), len(drawn[False]), counts[True], counts[False], fewer)


def _quota(limit: int, accepted: int, others: int) -> dict[bool, int]:
    total = accepted + others
    if total <= limit:
        return {True: accepted, False: others}
    fair = round(limit * others / total)
    shown = max(fair, min(others, math.ceil(limit * LEAST_NOT_ACCEPTED)))
    return {True: limit - shown, False: shown}


def _examples(records: PipelineRecords, manifest: Manifest) -> frozenset[str]:
    statistics = read_statistics(records, manifest) if records.finished else None
    quality = statistics.quality if statistics else None
    return frozenset(example.dialogue_id for example in quality.examples.values()) if quality else frozenset()


def transcripts(
    run: Path, environments: Mapping[str, EnvironmentFactory], limit: int, seed: int
) -> Iterator[Transcript]:
    """The drawn dialogues of a run (`draw`), by pipeline: accepted ones, rejected ones, failed ones.

    `environments` are the pipelines' (name -> factory); the caller closes them. Where a pipeline has an executable one,
    its dialogues are replayed, to show what each call changed and which rules it broke. A dialogue that cannot be
    replayed lacks these marks; one that cannot be read has the error for a text. Not to be called in a running event
    loop.
    """
    drawn = draw(run, limit, seed)
    toolsets = _toolsets(run)
    for records in pipelines_of(run, read_manifest(run)):
        chosen = drawn.chosen.get(records.name, frozenset())
        if not chosen:
            continue
        replayer = _Replayer(environments.get(records.name), toolsets)
        keys = frozenset(transcript_key(records.name, name) for name in chosen)
        with asyncio.Runner() as runner:
            for outcome in _outcomes(records, chosen):
                try:
                    found = runner.run(replayer.replayed(outcome))
                    yield transcript_of(outcome, records.name, records.users, found, keys)
                except Exception as error:  # whatever it is, the others are shown
                    yield unreadable_transcript(outcome, records.name, error)


def _outcomes(records: PipelineRecords, chosen: frozenset[str]) -> Iterator[Outcome]:
    with suppress(RecordError):  # the run's sections say so
        yield from records.outcomes(chosen)


def _toolsets(run: Path) -> dict[str, Toolset]:
    try:
        return {toolset.domain: toolset for toolset in read_jsonl(run / "toolsets.jsonl", Toolset)}
    except RecordError:
        return {}


@dataclass(frozen=True)
class _Replayer:
    """Replays dialogues in a pipeline's environment, if that executes tools."""

    environments: EnvironmentFactory | None
    toolsets: Mapping[str, Toolset]

    async def replayed(self, outcome: Outcome) -> Replayed:
        """Empty for a dialogue that cannot be replayed: its database is gone, its transcript is invalid."""
        dialogue = outcome.dialogue
        if dialogue is None or not dialogue.task_starts or not (self.environments and self.environments.executable):
            return Replayed()
        try:
            domain_environment = self.environments.for_domain(
                self.toolsets[dialogue.domain], Meter(ScriptedLLM()), dialogue.dialogue_id, dialogue.provenance.now
            )
            return await replayed(dialogue, domain_environment)
        except Exception:  # the transcript is shown without what a replay adds
            return Replayed()
