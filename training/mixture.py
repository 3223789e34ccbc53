"""Which dialogues are trained on and which validate: weights per pipeline, and a split by database and task.

Datasets are read twice, first for who they are, then for what they say, so that a mixture of hundreds of thousands of
dialogues needs memory for their names only.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, Field

from core.dialogue import Dialogue
from core.records import read_jsonl
from core.settings import Settings, UserError


class MixtureSettings(Settings):
    """`weights` are shares per pipeline; a larger source is down-sampled until they hold (Appendix E), none is repeated.

    `limit` caps the dialogues to train on, `validation_limit` those to validate on: `validation_domains` whole databases
    and, of the others, `validation_share` of the dialogues, whose tasks no trained dialogue has.
    """

    weights: dict[str, float]
    limit: int | None = Field(default=None, ge=1)
    validation_domains: int = Field(ge=0)
    validation_share: float = Field(ge=0, lt=1)
    validation_limit: int = Field(ge=1)


@dataclass(frozen=True)
class Mixture:
    """The chosen dialogues' ids, and how many of each pipeline: `sources` for training, `shared` left out of training
    because a validation dialogue has one of their tasks."""

    train: frozenset[str]
    validation: frozenset[str]
    validation_domains: tuple[str, ...]
    sources: dict[str, int]
    shared: int


class _Goal(BaseModel):
    goal: str


class _Header(BaseModel):
    """The part of a dialogue's line that the split needs; the rest of the line is not kept."""

    dialogue_id: str
    pipeline: str
    domain: str
    tasks: tuple[_Goal, ...]
    task_starts: tuple[int, ...]

    @property
    def task_keys(self) -> set[tuple[str, str]]:
        return {(self.domain, task.goal) for task in self.tasks}


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
    """Choose from `files`; the same files, settings and seed give the same choice. Raises UserError if a pipeline with
    weight has no dialogue, an id occurs twice, a dialogue was never played, or nothing is left to train or validate on."""
    headers = [header for file in files for header in read_jsonl(file, _Header)]
    twice = [name for name, count in Counter(h.dialogue_id for h in headers).items() if count > 1]
    if twice:
        raise UserError(f"{len(twice)} dialogue ids occur more than once in the data, the first is {twice[0]!r}")
    unplayed = [h.dialogue_id for h in headers if not h.task_starts]
    if unplayed:
        raise UserError(
            f"{len(unplayed)} dialogues have tasks but were not played, the first is {unplayed[0]!r}: generate them with the "
            "stages rollout and validation"
        )
    pool = [h for h in headers if settings.weights.get(h.pipeline, 0) > 0]
    _check_sources(headers, settings)
    pool.sort(key=lambda h: _draw(seed, h.dialogue_id))
    domains, validation = _validation(pool, settings, seed)
    tasks = {key for header in validation for key in header.task_keys}
    free = [h for h in pool if h.domain not in domains]
    candidates = [h for h in free if not h.task_keys & tasks]
    shared = len(free) - len(candidates) - sum(h.domain not in domains for h in validation)
    train = _weighted(candidates, settings)
    if not train or not validation:
        raise UserError(
            f"{len(pool)} dialogues in {len({h.domain for h in pool})} domains leave {len(train)} to train and "
            f"{len(validation)} to validate on: generate more, or lower mixture.validation_domains"
        )
    return Mixture(
        train=frozenset(h.dialogue_id for h in train),
        validation=frozenset(h.dialogue_id for h in validation),
        validation_domains=tuple(sorted(domains)),
        sources=dict(sorted(Counter(h.pipeline for h in train).items())),
        shared=shared,
    )


def read_chosen(files: Sequence[Path], chosen: frozenset[str]) -> Iterator[Dialogue]:
    """The dialogues with these ids, in the order of the files. Raises RecordError at a corrupt line."""
    for file in files:
        for dialogue in read_jsonl(file, Dialogue):
            if dialogue.dialogue_id in chosen:
                yield dialogue


def _check_sources(headers: Sequence[_Header], settings: MixtureSettings) -> None:
    present = Counter(header.pipeline for header in headers)
    wanted = [name for name, weight in settings.weights.items() if weight > 0]
    missing = [name for name in wanted if not present[name]]
    if missing or not wanted:
        given = ", ".join(f"{name} ({count})" for name, count in sorted(present.items())) or "no dialogue"
        raise UserError(
            f"the mixture wants {', '.join(missing or ['no pipeline'])}, but the data holds {given}: "
            "generate that pipeline, or choose another mixture="
        )


def _validation(pool: Sequence[_Header], settings: MixtureSettings, seed: int) -> tuple[set[str], list[_Header]]:
    """The held-back domains, and the validation dialogues: drawn alternately from those domains and from the others."""
    names = sorted({header.domain for header in pool}, key=lambda domain: _draw(seed, domain))
    domains = set(names[: settings.validation_domains])
    unseen = [h for h in pool if h.domain in domains]
    seen = [h for h in pool if h.domain not in domains]
    seen = seen[: round(len(seen) * settings.validation_share)]
    both = [header for pair in zip(unseen, seen, strict=False) for header in pair]
    ordered = both + unseen[len(seen) :] + seen[len(unseen) :]
    return domains, ordered[: settings.validation_limit]


def _weighted(pool: Sequence[_Header], settings: MixtureSettings) -> list[_Header]:
    """The largest selection of `pool`, in its order, in which the pipelines have the shares of their weights."""
    by_source: dict[str, list[_Header]] = defaultdict(list)
    for header in pool:
        by_source[header.pipeline].append(header)
    weights = {name: weight for name, weight in settings.weights.items() if weight > 0}
    whole = sum(weights.values())
    total = min(len(by_source[name]) * whole / weight for name, weight in weights.items())
    total = min(total, settings.limit or total)
    return [h for name, weight in weights.items() for h in by_source[name][: round(total * weight / whole)]]


def _draw(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()
