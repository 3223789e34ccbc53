"""Which tools of a domain's pool a dialogue offers.

Consecutive dialogues of a domain form blocks; those of a block share their tools and the order of them, so that engines
can cache this part of their prompts. The tools of a block are a connected core, found by following identifiers from
tool to tool, and some distractors. Over a cycle of blocks every tool and every subject is part of a core about equally
often. The tools of a block follow from the pool, the seed and the block's number alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from pydantic import Field, model_validator

from core.messages import ToolSpec
from core.settings import Settings
from generation.specs.naming import changes
from generation.specs.tool_graph import tool_graph
from generation.tools.toolset import MIN_TOOLS

_CYCLE = 40
"""Blocks of a cycle at most; within one, usage is balanced."""


class ToolChoiceSettings(Settings):
    """Which tools of a domain's pool a dialogue offers."""

    count: int | None = Field(
        default=None, ge=MIN_TOOLS, description="tools of a dialogue; null: all of the pool, in its order"
    )
    block: int = Field(
        default=16, ge=1, description="consecutive dialogues of a domain with the same tools and system prompt"
    )
    distractors: int = Field(
        default=0, ge=0, description="how many of the tools are chosen at random, besides those that belong together"
    )
    shuffle: bool = Field(default=False, description="random order of the tools; false: as in the pool")

    @model_validator(mode="after")
    def _leaves_a_core(self) -> ToolChoiceSettings:
        if self.count is not None and self.count - self.distractors < MIN_TOOLS:
            raise ValueError(
                f"count {self.count} with {self.distractors} distractors leaves fewer than {MIN_TOOLS} tools that "
                "belong together"
            )
        return self


@dataclass(frozen=True)
class OfferedTools:
    """The tools of a block's dialogues in their order, and the names of those that tasks should use."""

    tools: tuple[ToolSpec, ...]
    core: tuple[str, ...]


class ToolChoice:
    """Chooses from the pool of one domain."""

    def __init__(self, pool: Sequence[ToolSpec], settings: ToolChoiceSettings, seed: str) -> None:
        self.pool = {tool.name: tool for tool in pool}
        self.settings = settings
        self.seed = seed
        self._graph = tool_graph(pool)
        self._cycle = min(len(self.pool), _CYCLE)
        self._cycles: dict[int, list[OfferedTools]] = {}

    def offered(self, block: int) -> OfferedTools:
        """The tools of a block, which numbers from 0."""
        count, names = self.settings.count, tuple(self.pool)
        if count is None or not names:
            return OfferedTools(tuple(self.pool.values()), names)
        cycle, position = divmod(block, self._cycle)
        if cycle not in self._cycles:
            self._cycles = {cycle: self._choose(count, cycle)}
        return self._cycles[cycle][position]

    def _choose(self, count: int, cycle: int) -> list[OfferedTools]:
        rng, uses = Random(f"{self.seed}/tools/{cycle}"), Counter[str]()
        return [self._block(min(count, len(self.pool)), uses, rng) for _ in range(self._cycle)]

    def _block(self, count: int, uses: Counter[str], rng: Random) -> OfferedTools:
        """One block; its core is added to `uses`."""
        order = self._least_used(uses, rng)
        core = self._core(order, count if count == len(self.pool) else count - self.settings.distractors)
        uses.update(core)
        chosen = [*core]
        for name in rng.sample(list(self.pool), len(self.pool)):
            chosen += self._fitting(name, chosen, count, order)
        if self.settings.shuffle:
            rng.shuffle(chosen)
        else:
            chosen.sort(key=list(self.pool).index)
        return OfferedTools(tuple(self.pool[name] for name in chosen), tuple(core))

    def _least_used(self, uses: Counter[str], rng: Random) -> list[str]:
        """All tools, the least used first; what counts is a tool's own use and the mean one of its subject's tools."""
        subjects = self._graph.subjects
        of_subject, sizes = Counter[object](), Counter(subjects.values())
        for name, count in uses.items():
            of_subject[subjects[name]] += count
        names = rng.sample(list(self.pool), len(self.pool))
        return sorted(names, key=lambda name: uses[name] + of_subject[subjects[name]] / sizes[subjects[name]])

    def _core(self, order: Sequence[str], size: int) -> list[str]:
        """Tools that belong together, the least used ones that fit. If the first half changes nothing, the next one
        does. A tool comes with look-ups for the identifiers that it requires."""
        core: list[str] = []
        while len(core) < size:
            near = [name for name in order if any(self._belongs(name, other) for other in core)]
            candidates = list(dict.fromkeys([*near, *order]))
            if 2 * len(core) >= size and not any(map(changes, core)):
                candidates.sort(key=lambda name: not changes(name))
            added = next((new for name in candidates if (new := self._fitting(name, core, size, order))), None)
            if not added:
                break
            core += added
        return core

    def _belongs(self, name: str, other: str) -> bool:
        """Whether a tool leads to the other one or back, or is about the same."""
        return name in self._graph.neighbours[other] or self._graph.subjects[name] == self._graph.subjects[other]

    def _fitting(self, name: str, chosen: Sequence[str], size: int, order: Sequence[str]) -> list[str]:
        """The tool with the look-ups that it requires; empty if it is chosen already or they do not all fit."""
        added = [] if name in chosen else [name]
        for tool in added:  # grows
            for tools in self._graph.look_ups[tool]:
                if not any(other in chosen or other in added for other in tools):
                    added.append(tools[0])
        return added if len(chosen) + len(added) <= size else []
