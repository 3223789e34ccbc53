"""Where a run gets its toolsets: its pipelines' sources of domains, an earlier run's file, or the start states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core.settings import UserError
from generation.seeds.base import Seed, Seeds
from generation.start_states.start_states import StartStates
from generation.tools.from_questions import refuse_held_out
from generation.toolset_runner import ToolsetSource, source_from_seed, sources_from_file


@dataclass(frozen=True)
class DomainSource:
    """A source of domains: the configuration key that names it, and the pipelines that use it."""

    key: str
    seeds: Seeds
    pipelines: tuple[str, ...]


def toolset_sources(
    toolsets: Path | None, domain_sources: Sequence[DomainSource], start_states: StartStates
) -> tuple[ToolsetSource, ...]:
    """The sources of a run's toolsets: a file, the toolsets.jsonl of the run that the start states come from, or the
    seeds, each domain once. None are needed if every start state has its own tools. Raises UserError for unreadable
    files, for held-out seeds and for two domains of one name."""
    file = start_states.settings.file
    if toolsets is None and file and (file.parent.parent / "toolsets.jsonl").is_file():
        toolsets = file.parent.parent / "toolsets.jsonl"
    if toolsets:
        if not toolsets.is_file():
            raise UserError(
                f"toolsets={toolsets} was given, but there is no such file; expected: the toolsets.jsonl of a generation "
                "run"
            )
        return tuple(sources_from_file(toolsets))
    given = [start.dialogue for start in start_states.starts if start.dialogue]
    if given and all(dialogue.tools for dialogue in given) and not start_states.settings.inject:
        return ()
    # Databases on this machine come with the last pipelines; if they are missing, no data set should be read first.
    loaded = [_load(source) for source in reversed(domain_sources)][::-1]
    found: dict[str, ToolsetSource] = {}
    for source, seeds in zip(domain_sources, loaded, strict=True):
        for seed in seeds:
            known = found.setdefault(seed.name, source_from_seed(seed))
            if known.seed != seed:
                raise UserError(
                    f"{source.key}: its domain {seed.name} has the name of another one of this run; expected: different "
                    "names, so leave one of them out, or generate with the two sources in separate runs"
                )
            if len(domain_sources) > 1:
                pipelines = (*known.toolset.pipelines, *source.pipelines)
                found[seed.name] = replace(known, toolset=known.toolset.model_copy(update={"pipelines": pipelines}))
    return tuple(found.values())


def _load(source: DomainSource) -> tuple[Seed, ...]:
    """The seeds of a source. Raises UserError, which says whose they are if it is not the run's only source."""
    try:
        seeds = source.seeds.load()
    except UserError as error:
        if source.key == "domains":
            raise
        others = " ".join(f"domains@pipelines.{name}.domains=…" for name in source.pipelines)
        raise UserError(f"{source.key}: {error} (for other domains: {others})") from None
    refuse_held_out(seeds)
    return seeds
