"""Which dialogues are trained on and which validate: weights per pipeline, and a split by database and task.

Every line is read and checked once; what is kept of it is where it stands and who it is, a few hundred bytes. The chosen ones are
read again from their places, so that several processes can share them without reading each other's.
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
from core.messages import ContractError
from core.settings import Settings, UserError


class MixtureSettings(Settings):
    """`weights` are shares per pipeline; a larger source is down-sampled until they hold (Appendix E), none is repeated.

    `limit` caps the dialogues to train on, `validation_limit` those to validate on: `validation_domains` whole databases
    and, of the others, `validation_share` of the dialogues, whose tasks no trained dialogue has. A line that is no dialogue or
    breaks the message contract is an error; `skip_unlawful` leaves it out and counts it.
    """

    weights: dict[str, float]
    limit: int | None = Field(default=None, ge=1)
    validation_domains: int = Field(ge=0)
    validation_share: float = Field(ge=0, lt=1)
    validation_limit: int = Field(ge=1)
    skip_unlawful: bool = False


class LineRef(NamedTuple):
    """Where a dialogue stands: which of the files, and the byte at which its line begins."""

    file: int
    offset: int


@dataclass(frozen=True)
class Mixture:
    """The chosen dialogues' places, in the order of the files, and how many of each pipeline: `sources` for training, `shared` left
    out of training because a validation dialogue has one of their tasks; `skipped` are unlawful lines by what is wrong."""

    train: tuple[LineRef, ...]
    validation: tuple[LineRef, ...]
    validation_domains: tuple[str, ...]
    sources: dict[str, int]
    shared: int
    skipped: dict[str, int]


class _Goal(BaseModel):
    goal: str


class _Dialogue(BaseModel):
    """The part of a dialogue's line that the split needs."""

    dialogue_id: str
    pipeline: str
    domain: str
    tasks: tuple[_Goal, ...]
    task_starts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    """What is kept of a line. `tasks` are hashes of domain and goal."""

    place: LineRef
    dialogue_id: str
    pipeline: str
    domain: str
    tasks: frozenset[bytes]


def label(dialogue: Dialogue) -> tuple[str, Difficulty | None]:
    """(source, difficulty) under which a dialogue's validation loss is reported: its pipeline, and the hardest of its tasks."""
    order: tuple[Difficulty, ...] = ("easy", "medium", "hard")
    return dialogue.pipeline, max((task.difficulty for task in dialogue.tasks), key=order.index, default=None)


def find_data(path: Path) -> tuple[Path, ...]:
    """The dialogues.jsonl files of a generation run, the files of an export, or the one file given. Raises UserError if there
    are none."""
    if path.is_file():
        return (path,)
    patterns = ("dialogues.jsonl", "*/dialogues.jsonl", "data/*.jsonl")
    files = tuple(sorted(file for pattern in patterns for file in path.glob(pattern)))
    if not files:
        raise UserError(f"{path} was given as data: expected a generation run or a dialogues.jsonl file")
    return files


def mix(files: Sequence[Path], settings: MixtureSettings, seed: int) -> Mixture:
    """Choose from `files`; the same files, settings and seed give the same choice.

    Raises UserError if a line is no lawful dialogue, a pipeline with weight has none, an id occurs twice, a dialogue was never
    played, or nothing is left to train or validate on.
    """
    survey = _Survey(settings)
    for number, file in enumerate(files):
        survey.read(number, file)
    survey.check()
    pool = sorted(survey.entries, key=lambda entry: _draw(seed, entry.dialogue_id))
    domains, validation = _validation(pool, settings, seed)
    tasks = {key for entry in validation for key in entry.tasks}
    free = [entry for entry in pool if entry.domain not in domains]
    candidates = [entry for entry in free if not entry.tasks & tasks]
    shared = len(free) - len(candidates) - sum(entry.domain not in domains for entry in validation)
    train = _weighted(candidates, settings)
    if not train or not validation:
        raise UserError(
            f"{len(pool)} dialogues in {len({entry.domain for entry in pool})} domains leave {len(train)} to train and "
            f"{len(validation)} to validate on: generate more, or lower mixture.validation_domains"
        )
    return Mixture(
        train=tuple(sorted(entry.place for entry in train)),
        validation=tuple(sorted(entry.place for entry in validation)),
        validation_domains=tuple(sorted(domains)),
        sources=dict(sorted(Counter(entry.pipeline for entry in train).items())),
        shared=shared,
        skipped=dict(survey.skipped.most_common()),
    )


def read_chosen(files: Sequence[Path], chosen: Sequence[LineRef]) -> Iterator[Dialogue]:
    """The dialogues at these places of `files`. Raises RecordError where the files changed since they were chosen."""
    for place in chosen:
        yield read_jsonl_at(files[place.file], place.offset, Dialogue)


class _Survey:
    """All lines of the data, once: those of a pipeline with weight are checked and kept as entries, the others are counted."""

    def __init__(self, settings: MixtureSettings) -> None:
        self.settings = settings
        self.entries: list[_Entry] = []
        self.present: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.unplayed: list[str] = []

    def read(self, number: int, file: Path) -> None:
        for offset, line_number, line in lines_of(file):
            try:
                self._add(LineRef(number, offset), file, line_number, line)
            except RecordError as error:
                self._skip("no dialogue", str(error))
            except ContractError as error:
                self._skip(error.kind, f"{file}, line {line_number}: the dialogue breaks the message contract: {error}")

    def _add(self, place: LineRef, file: Path, line_number: int, line: bytes) -> None:
        header = parse_line(file, line_number, line, _Dialogue)
        self.present[header.pipeline] += 1
        if not self.settings.weights.get(header.pipeline, 0) > 0:
            return
        if not header.task_starts:
            self.unplayed.append(header.dialogue_id)
            return
        parse_line(file, line_number, line, Dialogue).check()
        tasks = frozenset(_draw(0, f"{header.domain}/{task.goal}") for task in header.tasks)
        pipeline, domain = sys.intern(header.pipeline), sys.intern(header.domain)
        self.entries.append(_Entry(place, header.dialogue_id, pipeline, domain, tasks))

    def _skip(self, kind: str, problem: str) -> None:
        if not self.settings.skip_unlawful:
            raise UserError(f"{problem}; mixture.skip_unlawful=true leaves such lines out and counts them") from None
        self.skipped[kind] += 1

    def check(self) -> None:
        """Raise UserError for what makes the whole data unusable."""
        if self.unplayed:
            raise UserError(
                f"{len(self.unplayed)} dialogues have tasks but were not played, the first is {self.unplayed[0]!r}: generate "
                "them with the stages rollout and validation"
            )
        twice = [name for name, count in Counter(entry.dialogue_id for entry in self.entries).items() if count > 1]
        if twice:
            raise UserError(f"{len(twice)} dialogue ids occur more than once in the data, the first is {twice[0]!r}")
        wanted = [name for name, weight in self.settings.weights.items() if weight > 0]
        kept = {entry.pipeline for entry in self.entries}
        missing = [name for name in wanted if name not in kept]
        if missing or not wanted:
            given = ", ".join(f"{name} ({count})" for name, count in sorted(self.present.items())) or "no dialogue"
            skipped = f" of which {self.skipped.total()} are unlawful" if self.skipped else ""
            raise UserError(
                f"the mixture wants {', '.join(missing or ['no pipeline'])}, but the data holds {given}{skipped}: "
                "generate that pipeline, or choose another mixture="
            )


def _validation(pool: Sequence[_Entry], settings: MixtureSettings, seed: int) -> tuple[set[str], list[_Entry]]:
    """The held-back domains, and the validation dialogues: drawn alternately from those domains and from the others."""
    names = sorted({entry.domain for entry in pool}, key=lambda domain: _draw(seed, domain))
    domains = set(names[: settings.validation_domains])
    unseen = [entry for entry in pool if entry.domain in domains]
    seen = [entry for entry in pool if entry.domain not in domains]
    seen = seen[: round(len(seen) * settings.validation_share)]
    both = [entry for pair in zip(unseen, seen, strict=False) for entry in pair]
    ordered = both + unseen[len(seen) :] + seen[len(unseen) :]
    return domains, ordered[: settings.validation_limit]


def _weighted(pool: Sequence[_Entry], settings: MixtureSettings) -> list[_Entry]:
    """The largest selection of `pool`, in its order, in which the pipelines have the shares of their weights."""
    by_source: dict[str, list[_Entry]] = defaultdict(list)
    for entry in pool:
        by_source[entry.pipeline].append(entry)
    weights = {name: weight for name, weight in settings.weights.items() if weight > 0}
    whole = sum(weights.values())
    total = min(len(by_source[name]) * whole / weight for name, weight in weights.items())
    total = min(total, settings.limit or total)
    return [entry for name, weight in weights.items() for entry in by_source[name][: round(total * weight / whole)]]


def _draw(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()
