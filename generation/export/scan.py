"""The first pass of an export over all dialogues: indexes each one and finds the contaminated ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from core.dialogue import Dialogue
from core.provenance import Provenance
from generation.export.decontamination import Detector
from generation.export.dedup import DedupSettings, Removal, calls_key, shingles, signature, transcript_key
from generation.export.index import DialogueIndex, Entry
from generation.export.provenance import DialogueOrigin, dialogue_origin
from generation.utterances.text import canonical
from generation.worlds.task_line import task_hash


@dataclass
class ScanResult:
    """An entry for each dialogue, removals of contaminated ones, and the distinct origins indexed by `Entry.origin`."""

    entries: list[Entry] = field(default_factory=list)
    removals: list[Removal] = field(default_factory=list)
    origins: list[DialogueOrigin] = field(default_factory=list)


def scan(
    index: DialogueIndex,
    dedup: DedupSettings,
    detector: Detector,
    held_out: Mapping[str, str],
    on_bytes: Callable[[int], None],
) -> ScanResult:
    """Read every dialogue once, in file order; calls `on_bytes` with the bytes read. `held_out` are the tasks that no
    dialogue may have: hash -> where it occurs."""
    result = ScanResult()
    origin_numbers: dict[str, int] = {}

    def origin_number(provenance: Provenance) -> int:
        origin = dialogue_origin(provenance)
        number = origin_numbers.setdefault(canonical(origin.model_dump()), len(result.origins))
        if number == len(result.origins):
            result.origins.append(origin)
        return number

    for file, offset, dialogue in index.read_all(on_bytes):
        entry = _entry(file, offset, dialogue, dedup, origin_number(dialogue.provenance))
        result.entries.append(entry)
        if removal := detector.removal(dialogue) or _shared_task(entry, held_out):
            result.removals.append(removal)
    return result


def _shared_task(entry: Entry, held_out: Mapping[str, str]) -> Removal | None:
    for digest in entry.task_hashes:
        if of := held_out.get(digest.hex()):
            return Removal(
                dialogue_id=entry.dialogue_id, pipeline=entry.pipeline, why="tasks", of=of, detail=digest.hex()
            )
    return None


def _entry(file: int, offset: int, dialogue: Dialogue, dedup: DedupSettings, origin: int) -> Entry:
    steps = [count for count in dialogue.steps() if count]
    return Entry(
        dialogue_id=dialogue.dialogue_id,
        pipeline=dialogue.pipeline,
        file=file,
        offset=offset,
        calls=calls_key(dialogue),
        transcript=transcript_key(dialogue),
        signature=signature(shingles(dialogue, dedup.shingle), dedup.permutations),
        domain=dialogue.domain,
        origin=origin,
        task_hashes=tuple(bytes.fromhex(task_hash(task)) for task in dialogue.tasks),
        validated=dialogue.verdict is not None and dialogue.verdict.accepted,
        turns=dialogue.turns,
        tasks=len(dialogue.tasks),
        steps=(sum(steps), len(steps), max(steps, default=0)),
    )
