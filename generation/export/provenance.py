"""Summarizes the provenance of exported dialogues: seeds and licences, model and sampling, prompts, commit."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from core.messages import Frozen
from core.provenance import Provenance
from generation.export.index import Entry
from generation.utterances.text import canonical

REQUIRED = ("source", "licence", "llm", "sampling", "prompts", "seed", "commit", "config")
"""Keys that the provenance of every dialogue must state."""

NOT_STATED = "not stated"


class DialogueOrigin(Frozen):
    """The part of the provenance that many dialogues of a run share, as texts; `missing` names the unstated keys."""

    source: str
    licence: str
    llm: str
    sampling: str
    prompts: tuple[tuple[str, str], ...]
    seed: str
    commit: str
    config: str
    missing: tuple[str, ...]


def dialogue_origin(provenance: Provenance) -> DialogueOrigin:
    return DialogueOrigin(
        source=_stated(provenance.source),
        licence=_stated(provenance.licence),
        llm=_stated(provenance.llm),
        sampling=NOT_STATED if provenance.sampling is None else canonical(provenance.sampling),
        prompts=tuple(sorted(provenance.prompts.items())),
        seed=_stated(provenance.seed),
        commit=_stated(provenance.commit),
        config=_stated(provenance.config),
        missing=tuple(key for key in REQUIRED if getattr(provenance, key) in (None, {}, "")),
    )


def _stated(value: str | int | None) -> str:
    return NOT_STATED if value is None else str(value)


class SourceSummary(Frozen):
    """Counts of a source of seeds under one licence."""

    source: str
    licence: str
    domains: int
    dialogues: int


class ProvenanceSummary(Frozen):
    """Provenance of the exported dialogues. Counts are of dialogues; `prompts` maps each prompt to the ids of its
    versions, and `missing` each key of REQUIRED to the number of dialogues that do not state it."""

    sources: tuple[SourceSummary, ...]
    models: dict[str, int]
    samplings: dict[str, int]
    prompts: dict[str, tuple[str, ...]]
    seeds: dict[str, int]
    commits: dict[str, int]
    configs: dict[str, int]
    missing: dict[str, int]


def summarise_provenance(entries: Iterable[Entry], origins: Sequence[DialogueOrigin]) -> ProvenanceSummary:
    """Count the origins of the dialogues; `Entry.origin` indexes `origins`."""
    counts: Counter[int] = Counter()
    domains: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for entry in entries:
        counts[entry.origin] += 1
        domains[origins[entry.origin].source, origins[entry.origin].licence][entry.domain] += 1
    prompts: defaultdict[str, set[str]] = defaultdict(set)
    for number in counts:
        for name, prompt in origins[number].prompts:
            prompts[name].add(prompt)

    def count_by(key: str) -> dict[str, int]:
        total: Counter[str] = Counter()
        for number, count in counts.items():
            total[getattr(origins[number], key)] += count
        return dict(sorted(total.items()))

    return ProvenanceSummary(
        sources=tuple(
            SourceSummary(source=source, licence=licence, domains=len(by_domain), dialogues=by_domain.total())
            for (source, licence), by_domain in sorted(domains.items())
        ),
        models=count_by("llm"),
        samplings=count_by("sampling"),
        prompts={name: tuple(sorted(ids)) for name, ids in sorted(prompts.items())},
        seeds=count_by("seed"),
        commits=count_by("commit"),
        configs=count_by("config"),
        missing={
            key: missing
            for key in REQUIRED
            if (missing := sum(count for number, count in counts.items() if key in origins[number].missing))
        },
    )
