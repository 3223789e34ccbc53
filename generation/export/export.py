"""A generation run -> clean data for others: deduplicated, decontaminated, with a card that says where everything comes from.

The dialogues are read once to find out what stays, and once more, one at a time, to write it. In memory are hashes, signatures
and counts of each, never text: about a kilobyte a dialogue, and five more in the index of near duplicates.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from core.dialogue import Dialogue
from core.files import write_atomically, write_json
from core.journal import dump_line
from core.provenance import Provenance
from core.settings import Settings, UserError
from generation.export.benchmark_texts import Benchmark, BenchmarkName
from generation.export.card import card
from generation.export.chat import chat_row, write_parquet
from generation.export.decontamination import ContaminationSettings, Detector
from generation.export.dedup import (
    DedupSettings,
    Removal,
    calls_key,
    duplicates,
    shingles,
    signature,
    transcript_key,
)
from generation.export.index import DialogueIndex, Entry
from generation.export.provenance import DialogueOrigin, dialogue_origin
from generation.export.report import Report, report
from generation.export.text import canonical


class ExportSettings(Settings):
    """conf/export.yaml. `data` is a generation run or one dialogues.jsonl, without it the newest finished run; `bfcl` is the
    virtual environment in which BFCL's files lie; `push_to_hub` names a dataset on the Hugging Face hub."""

    profile: str
    outputs: Path
    data: Path | None
    dedup: DedupSettings
    benchmarks: tuple[BenchmarkName, ...]
    bfcl: Path
    contamination: ContaminationSettings
    push_to_hub: str | None
    private: bool


class ExportWatcher(Protocol):
    """Who is told how it goes."""

    def step(self, name: str, total: int) -> Callable[[int], None]:
        """Begin a step of `total` parts; returns what is to be told how many of them were done."""
        ...


def export(
    files: Sequence[Path],
    directory: Path,
    settings: ExportSettings,
    benchmarks: Sequence[Benchmark],
    run: str,
    packages: Mapping[str, str],
    watcher: ExportWatcher,
) -> Report:
    """Fill `directory`. `run` and `packages` are of the generation, for the card. Every file appears whole or not at all, so an
    interrupted export is simply done again; the same dialogues, in any order and any files, give the same bytes.

    Raises UserError for a line that cannot be read and where nothing is left.
    """
    with DialogueIndex(files) as corpus:
        detector = Detector(benchmarks, settings.contamination)
        scan = Scan(settings.dedup, detector)
        scan.read(corpus, watcher.step("reading", corpus.size))
        entries = sorted(scan.entries, key=lambda entry: entry.dialogue_id)
        contaminated = {removal.dialogue_id for removal in scan.removals}
        clean = [entry for entry in entries if entry.dialogue_id not in contaminated]
        compared = watcher.step("comparing", len(clean))
        removals = [*scan.removals, *duplicates(clean, corpus.dialogue, settings.dedup, compared)]
        removals.sort(key=lambda removal: removal.dialogue_id)
        decides = settings.model_dump(mode="json", include={"dedup", "benchmarks", "contamination"})
        made = report(run, decides, entries, removals, scan.origins, detector.report())
        gone = {removal.dialogue_id for removal in removals}
        kept = [entry for entry in entries if entry.dialogue_id not in gone]
        if not kept:
            raise UserError(f"none of {len(entries)} dialogues is left: {_reasons(made)}")
        _write(corpus, kept, directory, watcher.step("writing", 3 * len(kept)))
    write_atomically(directory / "removed.jsonl", (dump_line(removal) for removal in removals))
    write_json(directory / "report.json", made.model_dump(mode="json"))
    write_atomically(directory / "README.md", card(made, packages))
    return made


class Scan:
    """One reading of all dialogues: what stands for each, and which are contaminated."""

    def __init__(self, dedup: DedupSettings, detector: Detector) -> None:
        self.dedup = dedup
        self.detector = detector
        self.entries: list[Entry] = []
        self.removals: list[Removal] = []
        self.origins: list[DialogueOrigin] = []
        self._numbers: dict[str, int] = {}

    def read(self, corpus: DialogueIndex, on_bytes: Callable[[int], None]) -> None:
        for file, offset, dialogue in corpus.scan(on_bytes):
            self.entries.append(self._entry(file, offset, dialogue))
            if removal := self.detector.removal(dialogue):
                self.removals.append(removal)

    def _entry(self, file: int, offset: int, dialogue: Dialogue) -> Entry:
        steps = [count for count in dialogue.steps() if count]
        return Entry(
            dialogue_id=dialogue.dialogue_id,
            pipeline=dialogue.pipeline,
            file=file,
            offset=offset,
            calls=calls_key(dialogue),
            transcript=transcript_key(dialogue),
            signature=signature(shingles(dialogue, self.dedup.shingle), self.dedup.permutations),
            domain=dialogue.domain,
            origin=self._origin(dialogue.provenance),
            validated=dialogue.verdict is not None and dialogue.verdict.accepted,
            turns=dialogue.turns,
            tasks=len(dialogue.tasks),
            steps=(sum(steps), len(steps), max(steps, default=0)),
        )

    def _origin(self, provenance: Provenance) -> int:
        origin = dialogue_origin(provenance)
        number = self._numbers.setdefault(canonical(origin.model_dump()), len(self.origins))
        if number == len(self.origins):
            self.origins.append(origin)
        return number


def _write(corpus: DialogueIndex, kept: Sequence[Entry], directory: Path, on_line: Callable[[int], None]) -> None:
    """data/<pipeline>.jsonl as generated; messages/<pipeline>.jsonl and .parquet as chat messages; in order of id."""
    pipelines: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in kept:
        pipelines[entry.pipeline].append(entry)
    for folder in ("data", "messages"):
        (directory / folder).mkdir(exist_ok=True)
    for name, entries in sorted(pipelines.items()):

        def lines(entries: Sequence[Entry] = entries) -> Iterator[bytes]:
            for entry in entries:
                yield corpus.line(entry)
                on_line(1)

        write_atomically(directory / "data" / f"{name}.jsonl", (line.decode() for line in lines()))
        rows = (json.dumps(chat_row(line), ensure_ascii=False) + "\n" for line in lines())
        write_atomically(directory / "messages" / f"{name}.jsonl", rows)
        write_parquet(directory / "messages" / f"{name}.parquet", (chat_row(line) for line in lines()))


def _reasons(made: Report) -> str:
    return "; ".join(
        f"{name}: {', '.join(f'{why} {count}' for why, count in counts.removed.items())}"
        for name, counts in made.pipelines.items()
    )
