"""Exports a generation run as clean data for others: deduplicated, decontaminated, with a card that states its
provenance.

The dialogues are read once to decide which to keep, and again, one at a time, to write those. Memory holds hashes,
signatures and counts of each dialogue, never text: about 1 kB per dialogue, plus 5 kB in the index of near duplicates.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pydantic import Field

from core.files import write_atomically, write_json
from core.journal import dump_line
from core.settings import Settings, UserError
from generation.export.benchmark_texts import BenchmarkData, BenchmarkName
from generation.export.card import render_card
from generation.export.chat import chat_row, write_parquet
from generation.export.decontamination import ContaminationSettings, Detector
from generation.export.dedup import DedupSettings, duplicates
from generation.export.index import DialogueIndex, Entry
from generation.export.report import Report, report
from generation.export.scan import scan


class ExportSettings(Settings):
    """conf/export.yaml."""

    profile: str = Field(description="name of the profile, recorded in the manifest")
    outputs: Path = Field(description="folder of all runs' outputs")
    data: Path | None = Field(
        description="A generation run or one dialogues.jsonl; null: the newest finished generation"
    )
    dedup: DedupSettings = Field(description="removal of duplicates")
    benchmarks: tuple[BenchmarkName, ...] = Field(description="benchmarks to decontaminate against: bfcl, tau2")
    bfcl: Path = Field(description="virtual environment in which bfcl-eval is installed")
    contamination: ContaminationSettings = Field(description="removal of dialogues that share items with benchmarks")
    push_to_hub: str | None = Field(
        description="dataset on the Hugging Face hub to upload to (organisation/name); null: none"
    )
    private: bool = Field(description="create the dataset on the hub as private")


class ExportWatcher(Protocol):
    """Receives the progress of an export."""

    def step(self, name: str, total: int) -> Callable[[int], None]:
        """Start a step of `total` units; returns a callback that takes the number of units just done."""
        ...


def export(
    files: Sequence[Path],
    directory: Path,
    settings: ExportSettings,
    benchmarks: Sequence[BenchmarkData],
    run: str,
    packages: Mapping[str, str],
    watcher: ExportWatcher,
) -> Report:
    """Write an export to `directory`. `run` and `packages` (name -> version) describe the generation, for the card.

    Files are written atomically, so an interrupted export can simply be repeated; the same dialogues, in any order and
    any files, give the same bytes. Raises UserError for an unreadable line, and if no dialogue remains.
    """
    with DialogueIndex(files) as index:
        detector = Detector(benchmarks, settings.contamination)
        scanned = scan(index, settings.dedup, detector, watcher.step("reading", index.size))
        entries = sorted(scanned.entries, key=lambda entry: entry.dialogue_id)
        contaminated = {removal.dialogue_id for removal in scanned.removals}
        clean = [entry for entry in entries if entry.dialogue_id not in contaminated]
        on_compared = watcher.step("comparing", len(clean))
        removals = [*scanned.removals, *duplicates(clean, index.dialogue, settings.dedup, on_compared)]
        removals.sort(key=lambda removal: removal.dialogue_id)
        used_settings = settings.model_dump(mode="json", include={"dedup", "benchmarks", "contamination"})
        summary = report(run, used_settings, entries, removals, scanned.origins, detector.report())
        removed = {removal.dialogue_id for removal in removals}
        kept = [entry for entry in entries if entry.dialogue_id not in removed]
        if not kept:
            raise UserError(f"none of {len(entries)} dialogues remains: {_reasons(summary)}")
        _write(index, kept, directory, watcher.step("writing", 3 * len(kept)))
    write_atomically(directory / "removed.jsonl", (dump_line(removal) for removal in removals))
    write_json(directory / "report.json", summary.model_dump(mode="json"))
    write_atomically(directory / "README.md", render_card(summary, packages))
    return summary


def _write(index: DialogueIndex, kept: Sequence[Entry], directory: Path, on_line: Callable[[int], None]) -> None:
    """Write data/<pipeline>.jsonl as generated, messages/<pipeline>.{jsonl,parquet} as chat messages, in order of
    id."""
    pipelines: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in kept:
        pipelines[entry.pipeline].append(entry)
    for folder in ("data", "messages"):
        (directory / folder).mkdir(exist_ok=True)
    for name, entries in sorted(pipelines.items()):

        def lines(entries: Sequence[Entry] = entries) -> Iterator[bytes]:
            for entry in entries:
                yield index.line(entry)
                on_line(1)

        write_atomically(directory / "data" / f"{name}.jsonl", (line.decode() for line in lines()))
        rows = (json.dumps(chat_row(line), ensure_ascii=False) + "\n" for line in lines())
        write_atomically(directory / "messages" / f"{name}.jsonl", rows)
        write_parquet(directory / "messages" / f"{name}.parquet", (chat_row(line) for line in lines()))


def _reasons(summary: Report) -> str:
    return "; ".join(
        f"{name}: {', '.join(f'{why} {count}' for why, count in counts.removed.items())}"
        for name, counts in summary.pipelines.items()
    )
