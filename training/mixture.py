"""Choose the dialogues to train on and to validate on: weights per pipeline, and a split by database and task.

Every line is read and checked once; only its position and identity are kept, a few hundred bytes. The chosen lines are
read again from their positions, so that several processes can share them without reading each other's.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, Field

from core.dialogue import Dialogue, Difficulty
from core.journal import RecordError, lines_of, parse_line, read_jsonl_at
from core.json_fields import JsonModels
from core.messages import ContractError
from core.provenance import Provenance
from core.settings import Settings, UserError


class MixtureSettings(Settings):
    """The data mixture. The paper's is in Appendix E."""

    weights: dict[str, float] = Field(
        description="share of each pipeline; larger sources are down-sampled to fit, no dialogue is repeated"
    )
    limit: int | None = Field(default=None, ge=1, description="most dialogues to train on; null: no limit")
    validation_domains: int = Field(
        ge=0, description="held-out databases: all their dialogues are for validation, none for training"
    )
    validation_share: float = Field(
        ge=0, lt=1, description="share of the other databases' dialogues to validate on; their tasks are not trained on"
    )
    validation_limit: int = Field(ge=1, description="most dialogues to validate on")
    skip_invalid: bool = Field(
        default=False,
        description="leave out and count lines that are not a dialogue or break the message contract; false: an error",
    )


class LineRef(NamedTuple):
    """The position of a dialogue: the number of its file, and the byte offset of its line."""

    file: int
    offset: int


@dataclass(frozen=True)
class Mixture:
    """The chosen dialogues, in the order of the files."""

    train: tuple[LineRef, ...]
    validation: tuple[LineRef, ...]

    validation_domains: tuple[str, ...]
    """The held-out databases."""

    sources: dict[str, int]
    """Training dialogues by pipeline."""

    shared_tasks: int
    """Dialogues left out of training because a validation dialogue has one of their tasks."""

    skipped: dict[str, int]
    """Invalid lines by kind of error."""


class _Goal(BaseModel):
    goal: str


class _Dialogue(BaseModel):
    """The part of a dialogue that the split needs. Errors about a line quote the class name."""

    dialogue_id: str
    pipeline: str
    domain: str
    tasks: JsonModels[_Goal]
    task_starts: tuple[int, ...]
    provenance: Provenance = Provenance()


@dataclass(frozen=True, slots=True)
class _Entry:
    """The data kept of a line. `tasks` are hashes of domain and goal, `config` is the fingerprint of its run."""

    line: LineRef
    dialogue_id: str
    pipeline: str
    domain: str
    tasks: frozenset[bytes]
    config: str

    @property
    def identity(self) -> str:
        """Two runs number their dialogues alike."""
        return f"{self.config}/{self.dialogue_id}"


def label(dialogue: Dialogue) -> tuple[str, Difficulty | None]:
    """(source, difficulty) for reporting a dialogue's validation loss: its pipeline, and the difficulty of its hardest
    task."""
    order: tuple[Difficulty, ...] = ("easy", "medium", "hard")
    return dialogue.pipeline, max((task.difficulty for task in dialogue.tasks), key=order.index, default=None)


def find_data(*sources: Path) -> tuple[Path, ...]:
    """The files with the dialogues of all sources, in a fixed order: the dialogues.jsonl files of a generation run, the
    files of an export, or the source itself if it is a file. Raises UserError if one has no file, and if one is given
    twice."""
    resolved = [source.resolve() for source in sources]
    if repeated := [source for source, count in Counter(resolved).items() if count > 1]:
        raise UserError(f"data: {repeated[0]} was given twice; expected: different runs, exports or files")
    return tuple(file for source in sorted(sources, key=Path.resolve) for file in _files_of(source))


def name_files(files: Sequence[Path]) -> dict[str, Path]:
    """Names for a manifest: each file's name with as many of its folders as tell it from the others, at least one."""
    resolved = [file.resolve().parts for file in files]
    length = next(
        n for n in range(2, 1 + max(map(len, resolved))) if len({parts[-n:] for parts in resolved}) == len(files)
    )
    return {"/".join(parts[-length:]): file for parts, file in zip(resolved, files, strict=True)}


def _files_of(path: Path) -> tuple[Path, ...]:
    if path.is_file():
        return (path,)
    patterns = ("dialogues.jsonl", "*/dialogues.jsonl", "data/*.jsonl")
    files = tuple(sorted(file for pattern in patterns for file in path.glob(pattern)))
    if not files:
        raise UserError(f"{path} was given as data: expected a generation run or a dialogues.jsonl file")
    return files


def mix(files: Sequence[Path], settings: MixtureSettings, seed: int) -> Mixture:
    """Choose from `files`; the same files, settings and seed give the same choice.

    Raises UserError if a line is not a valid dialogue, a pipeline with a weight has no dialogues, a dialogue occurs
    twice, a dialogue has no rollout, or nothing is left to train or validate on.
    """
    scan = _Scan(settings, files)
    for number, file in enumerate(files):
        scan.read(number, file)
    scan.check()
    several = len({entry.config for entry in scan.entries}) > 1
    pool = sorted(scan.entries, key=lambda entry: _draw(seed, entry.identity if several else entry.dialogue_id))
    domains, validation = _validation(pool, settings, seed)
    tasks = {key for entry in validation for key in entry.tasks}
    free = [entry for entry in pool if entry.domain not in domains]
    candidates = [entry for entry in free if not entry.tasks & tasks]
    shared_tasks = len(free) - len(candidates) - sum(entry.domain not in domains for entry in validation)
    train = _weighted(candidates, settings)
    if not train or not validation:
        raise UserError(
            f"{len(pool)} dialogues in {len({entry.domain for entry in pool})} domains leave {len(train)} to train and "
            f"{len(validation)} to validate on: generate more, or lower mixture.validation_domains"
        )
    return Mixture(
        train=tuple(sorted(entry.line for entry in train)),
        validation=tuple(sorted(entry.line for entry in validation)),
        validation_domains=tuple(sorted(domains)),
        sources=dict(sorted(Counter(entry.pipeline for entry in train).items())),
        shared_tasks=shared_tasks,
        skipped=dict(scan.skipped.most_common()),
    )


def read_chosen(files: Sequence[Path], chosen: Sequence[LineRef]) -> Iterator[Dialogue]:
    """The dialogues at these positions of `files`. Raises RecordError if the files have changed since the choice."""
    for line in chosen:
        yield read_jsonl_at(files[line.file], line.offset, Dialogue)


class _Scan:
    """Reads all lines of the data once: checks those of pipelines with a weight and keeps an entry of each, counts the
    others."""

    def __init__(self, settings: MixtureSettings, files: Sequence[Path]) -> None:
        self.settings = settings
        self.files = files
        self.entries: list[_Entry] = []
        self.present: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.without_rollout: list[str] = []

    def read(self, number: int, file: Path) -> None:
        for offset, line_number, line in lines_of(file):
            try:
                self._add(LineRef(number, offset), file, line_number, line)
            except RecordError as error:
                self._skip("not a dialogue", str(error))
            except ContractError as error:
                self._skip(error.kind, f"{file}, line {line_number}: the dialogue breaks the message contract: {error}")

    def _add(self, ref: LineRef, file: Path, line_number: int, line: bytes) -> None:
        header = parse_line(file, line_number, line, _Dialogue)
        self.present[header.pipeline] += 1
        if not self.settings.weights.get(header.pipeline, 0) > 0:
            return
        if not header.task_starts:
            self.without_rollout.append(header.dialogue_id)
            return
        parse_line(file, line_number, line, Dialogue).check()
        tasks = frozenset(_draw(0, f"{header.domain}/{task.goal}") for task in header.tasks)
        names = (header.pipeline, header.domain, header.provenance.config or "")
        pipeline, domain, config = map(sys.intern, names)
        self.entries.append(_Entry(ref, header.dialogue_id, pipeline, domain, tasks, config))

    def _skip(self, kind: str, problem: str) -> None:
        if not self.settings.skip_invalid:
            raise UserError(f"{problem}; mixture.skip_invalid=true leaves such lines out and counts them") from None
        self.skipped[kind] += 1

    def check(self) -> None:
        """Raises UserError if the data cannot be used."""
        if self.without_rollout:
            raise UserError(
                f"{len(self.without_rollout)} dialogues have tasks but no rollout, the first is "
                f"{self.without_rollout[0]!r}: generate them with the stages rollout and validation"
            )
        self._refuse_repeated()
        wanted = [name for name, weight in self.settings.weights.items() if weight > 0]
        usable = {entry.pipeline for entry in self.entries}
        missing = [name for name in wanted if name not in usable]
        if missing or not wanted:
            present = ", ".join(f"{name} ({count})" for name, count in sorted(self.present.items())) or "no dialogues"
            skipped = f" of which {self.skipped.total()} are invalid" if self.skipped else ""
            raise UserError(
                f"the mixture wants {', '.join(missing or ['no pipeline'])}, but the data has {present}{skipped}: "
                "generate that pipeline, or choose another mixture="
            )

    def _refuse_repeated(self) -> None:
        """Raises UserError if a dialogue occurs twice: in one run, or in another run with the same messages. Runs of
        different seeds have the same ids, but other dialogues."""
        by_id: dict[str, list[_Entry]] = defaultdict(list)
        for entry in self.entries:
            by_id[entry.dialogue_id].append(entry)
        repeated = []
        for name, entries in by_id.items():
            if len(entries) > 1 and (pair := self._first_pair(entries)):
                repeated.append((name, *pair))
        if repeated:
            name, first, second = repeated[0]
            where = f"in {first}" if first == second else f"in {first} and {second}"
            raise UserError(
                f"{len(repeated)} dialogues occur more than once in the data, the first is {name!r} {where}; expected: "
                "each dialogue once, so name a run or its export, not both, and generate further dialogues with another "
                "seed"
            )

    def _first_pair(self, entries: Sequence[_Entry]) -> tuple[Path, Path] | None:
        """The files of the first two of these dialogues that are the same one."""
        known: dict[str, Path] = {}
        messages: dict[str, Path] = {}
        for entry, dialogue in zip(entries, read_chosen(self.files, [e.line for e in entries]), strict=True):
            file, text = self.files[entry.line.file], str(dialogue.messages)
            if earlier := known.get(entry.config) or messages.get(text):
                return earlier, file
            known[entry.config] = messages[text] = file
        return None


def _validation(pool: Sequence[_Entry], settings: MixtureSettings, seed: int) -> tuple[set[str], list[_Entry]]:
    """The held-out domains, and the validation dialogues, drawn alternately from those domains and from the others."""
    names = sorted({entry.domain for entry in pool}, key=lambda domain: _draw(seed, domain))
    domains = set(names[: settings.validation_domains])
    unseen = [entry for entry in pool if entry.domain in domains]
    seen = [entry for entry in pool if entry.domain not in domains]
    seen = seen[: round(len(seen) * settings.validation_share)]
    alternating = [entry for pair in zip(unseen, seen, strict=False) for entry in pair]
    ordered = alternating + unseen[len(seen) :] + seen[len(unseen) :]
    return domains, ordered[: settings.validation_limit]


def _weighted(pool: Sequence[_Entry], settings: MixtureSettings) -> list[_Entry]:
    """The largest selection of `pool`, in its order, in which the pipelines have the shares of their weights."""
    by_source: dict[str, list[_Entry]] = defaultdict(list)
    for entry in pool:
        by_source[entry.pipeline].append(entry)
    weights = {name: weight for name, weight in settings.weights.items() if weight > 0}
    weight_sum = sum(weights.values())
    total = min(len(by_source[name]) * weight_sum / weight for name, weight in weights.items())
    total = min(total, settings.limit or total)
    return [
        entry for name, weight in weights.items() for entry in by_source[name][: round(total * weight / weight_sum)]
    ]


def _draw(seed: int, name: str) -> bytes:
    """A pseudo-random sort key that depends only on `seed` and `name`."""
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()
