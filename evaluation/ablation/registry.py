"""The registry of results: outputs/registry.jsonl, one line for each cell and seed of an experiment.

It is append-only. A line's hash covers what was measured and how; registries of several machines are merged by
concatenation, and a line whose hash is there already counts once. Run ids, times and machines are noted, but not part
of the hash: an interrupted and resumed experiment has the registry of an undisturbed one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from core.journal import Journal, RecordError, indexed_jsonl
from core.locks import locked
from core.messages import Frozen
from core.sampling import Sampling

REGISTRY = "registry.jsonl"

Counts = dict[str, tuple[int, int]]
"""Task -> (completed trials, successes)."""


class Measured(Frozen):
    """What was measured in one cell with one seed, and how.

    `words` are the overrides of each stage. `engine` has the packages that served the model, `parsers` its parsers,
    `harnesses` the releases of benchmarks and tasks, `simulators` and `judges` the models that took part, by benchmark.
    `outcomes` has the trials of each "benchmark/category" by task, `measures` further numbers.
    """

    experiment: str
    cell: str
    seed: int
    profile: str
    words: dict[str, tuple[str, ...]]
    engine: dict[str, str]
    parsers: dict[str, str]
    harnesses: dict[str, tuple[str, ...]]
    simulators: dict[str, tuple[str, ...]]
    judges: dict[str, tuple[str, ...]]
    sampling: Sampling
    dialogues: int
    trained_tokens: int
    measures: dict[str, float]
    outcomes: dict[str, Counts]

    @property
    def key(self) -> str:
        """Identifies the cell, its seed and all overrides: a later line with the same key replaces an earlier one."""
        return self.key_of(self.experiment, self.cell, self.seed, self.profile, self.words)

    @staticmethod
    def key_of(experiment: str, cell: str, seed: int, profile: str, words: Mapping[str, tuple[str, ...]]) -> str:
        identity = [experiment, cell, seed, profile, words]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


class StageRun(Frozen):
    """A stage run behind a result."""

    run: str
    seconds: float
    commit: str
    dirty: bool


class Entry(Frozen):
    """A line of the registry. `records` and `records_sha256` name the file with every trial."""

    hash: str
    measured: Measured
    runs: dict[str, StageRun]
    records: str
    records_sha256: str
    machine: dict[str, str]
    finished: str

    @property
    def commits(self) -> tuple[str, ...]:
        """The commits of its stages; one with uncommitted changes ends in +."""
        return tuple(sorted({f"{run.commit[:9]}{'+' if run.dirty else ''}" for run in self.runs.values()}))


def content_hash(measured: Measured) -> str:
    """The SHA-256 of what was measured, in a form that does not depend on the order of keys."""
    content = json.dumps(measured.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()


def append(path: Path, entry: Entry) -> bool:
    """Append an entry, unless its hash is there already; returns whether it was new. Several processes may append."""
    with locked(path.with_name(f".{path.name}.lock")), Journal(path, lambda line: str(line["hash"])) as journal:
        if entry.hash in journal.keys:
            return False
        journal.append(entry, entry.hash)
        return True


def read_registry(path: Path) -> list[Entry]:
    """All entries, each hash once, in the order of the file; empty without a file. Raises RecordError for a line whose
    content does not have its hash."""
    if not path.is_file():
        return []
    entries: dict[str, Entry] = {}
    for offset, entry in indexed_jsonl(path, Entry):
        if content_hash(entry.measured) != entry.hash:
            raise RecordError(
                f"{path}, byte {offset}: the content of {entry.measured.cell}, seed {entry.measured.seed}, does not have "
                "its hash: the line was changed after it was written"
            )
        entries.setdefault(entry.hash, entry)
    return list(entries.values())


def newest(entries: Iterable[Entry], keys: Iterable[str]) -> list[Entry]:
    """The entry of each key that finished last; none for a key without entries."""
    found: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda e: e.finished):
        found[entry.measured.key] = entry
    return [found[key] for key in keys if key in found]
