"""Where dialogues come from, as their provenance says: seeds and licences, model and sampling, prompts, commit."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from core.messages import Frozen
from generation.export.index import Entry
from generation.export.text import canonical

REQUIRED = ("source", "licence", "llm", "sampling", "prompts", "seed", "commit", "config")
"""What the provenance of every line must say."""

NOT_STATED = "not stated"


class RunProvenance(Frozen):
    """What many dialogues of a run have in common; `missing` names what their provenance does not say."""

    source: str
    licence: str
    llm: str
    sampling: str
    prompts: tuple[tuple[str, str], ...]
    seed: str
    commit: str
    config: str
    missing: tuple[str, ...]


def run_provenance(provenance: Mapping[str, Any]) -> RunProvenance:
    said = {key: provenance.get(key) for key in REQUIRED}
    prompts = said["prompts"] if isinstance(said["prompts"], dict) else {}
    sampling = canonical(said["sampling"]) if said["sampling"] is not None else NOT_STATED
    plain = {key: NOT_STATED if said[key] is None else str(said[key]) for key in REQUIRED}
    return RunProvenance(
        **plain
        | {
            "sampling": sampling,
            "prompts": tuple(sorted((name, str(prompt)) for name, prompt in prompts.items())),
            "missing": tuple(key for key in REQUIRED if said[key] in (None, {}, "")),
        }
    )


class Source(Frozen):
    """Seeds of one kind under one licence."""

    source: str
    licence: str
    domains: int
    dialogues: int


class Provenance(Frozen):
    """Of the dialogues that stay. Counts are of dialogues; `prompts` maps each to the ids of its versions, `missing` what is not
    said to the dialogues that do not say it."""

    sources: tuple[Source, ...]
    models: dict[str, int]
    samplings: dict[str, int]
    prompts: dict[str, tuple[str, ...]]
    seeds: dict[str, int]
    commits: dict[str, int]
    configs: dict[str, int]
    missing: dict[str, int]


def provenance(entries: Iterable[Entry], origins: Sequence[RunProvenance]) -> Provenance:
    """All that the dialogues' origins say; `origins` are those that the entries index."""
    counts: Counter[int] = Counter()
    domains: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for entry in entries:
        counts[entry.origin] += 1
        domains[origins[entry.origin].source, origins[entry.origin].licence][entry.domain] += 1
    prompts: defaultdict[str, set[str]] = defaultdict(set)
    for number in counts:
        for name, prompt in origins[number].prompts:
            prompts[name].add(prompt)

    def by(key: str) -> dict[str, int]:
        total: Counter[str] = Counter()
        for number, count in counts.items():
            total[getattr(origins[number], key)] += count
        return dict(sorted(total.items()))

    return Provenance(
        sources=tuple(
            Source(source=source, licence=licence, domains=len(counted), dialogues=counted.total())
            for (source, licence), counted in sorted(domains.items())
        ),
        models=by("llm"),
        samplings=by("sampling"),
        prompts={name: tuple(sorted(ids)) for name, ids in sorted(prompts.items())},
        seeds=by("seed"),
        commits=by("commit"),
        configs=by("config"),
        missing={
            key: missing
            for key in REQUIRED
            if (missing := sum(count for number, count in counts.items() if key in origins[number].missing))
        },
    )
