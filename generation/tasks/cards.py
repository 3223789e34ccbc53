"""Cards: what is asked of the task writer for each task, dealt so that a run repeats itself as late as possible.

A card names a difficulty and target tools. Target tools are a walk over the producer/consumer graph of the dialogue's
tools, from the least used one on. All cards of a block of dialogues (see generation.tools.choice) are dealt together,
so that the block's tasks use all its tools about equally often; they follow from the seed and the block alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from core.dialogue import Difficulty
from generation.specs.dealing import dealt, dealt_place
from generation.specs.naming import changes
from generation.specs.tool_graph import ToolGraph, tool_graph
from generation.tools.choice import OfferedTools

_WALK: dict[Difficulty, int] = {"easy": 1, "medium": 2, "hard": 3}
"""Target tools by difficulty. A plan may need further calls, such as look-ups."""


@dataclass(frozen=True)
class Card:
    """What one task should be: a `difficulty`, a plan that uses at least one of the tools `targets`, and the kind of
    request at `place` among the weights of those that are possible (generation.specs.dealing)."""

    difficulty: Difficulty
    targets: tuple[str, ...]
    place: float


def deal_cards(
    offered: OfferedTools, dialogues: range, tasks: int, difficulties: Mapping[Difficulty, float], seed: str
) -> list[tuple[Card, ...]]:
    """For each dialogue of a block, numbered within its domain, the cards of up to `tasks` tasks."""
    graph = tool_graph(offered.tools).among(offered.core)
    uses, rng = Counter[str](), Random(f"{seed}/targets/{dialogues.start}")
    cards: list[list[Card]] = [[] for _ in dialogues]
    for task in range(tasks):  # all first tasks first: not every dialogue has further ones
        for number, own in zip(dialogues, cards, strict=True):
            level = dealt(difficulties, f"{seed}/difficulty of task {task}", number)
            targets = _walk(graph, level, uses, rng)
            uses.update(targets)
            own.append(Card(level, targets, dealt_place(f"{seed}/kind of task {task}", number)))
    return [tuple(own) for own in cards]


def _walk(graph: ToolGraph, level: Difficulty, uses: Counter[str], rng: Random) -> tuple[str, ...]:
    """Tools that lead from one to the next, each time the least used one."""
    names = list(graph.subjects)
    first = [name for name in names if _is_simple(name, graph)] if level == "easy" else names
    walk = [_least_used(first or names, uses, rng)]
    while len(walk) < _WALK[level]:
        onward = graph.consumers[walk[-1]] or graph.neighbours[walk[-1]]
        if not (fresh := [name for name in names if name in onward and name not in walk]):
            break
        walk.append(_least_used(fresh, uses, rng))
    return tuple(walk)


def _is_simple(name: str, graph: ToolGraph) -> bool:
    """Whether one call, or two look-ups, can make a whole task of it."""
    return not changes(name) or not graph.look_ups[name]


def _least_used(names: Sequence[str], uses: Counter[str], rng: Random) -> str:
    least = min(uses[name] for name in names)
    return rng.choice([name for name in names if uses[name] == least])
