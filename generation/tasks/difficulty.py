"""How hard a task is, by what solving it takes: calls, calls that depend on earlier results, and changes."""

from __future__ import annotations

from collections.abc import Sequence

from core.dialogue import Difficulty, PlannedCall, placeholder
from core.messages import Frozen

BANDS: dict[Difficulty, tuple[int, int | None]] = {"easy": (1, 2), "medium": (3, 5), "hard": (6, None)}
"""Difficulty -> lowest and highest score. An easy task is one look-up or two, or one change; a medium one looks something up
and acts on it; a hard one needs several of these together."""


class Effort(Frozen):
    """What solving a task takes: `calls` in all, of which `dependencies` use a value of an earlier result and `writes` change
    something."""

    calls: int
    dependencies: int
    writes: int

    @property
    def score(self) -> int:
        """Each call counts one, one more where it needs an earlier result, and one more where it changes something."""
        return self.calls + self.dependencies + self.writes


def effort(plan: Sequence[PlannedCall], writes: Sequence[bool]) -> Effort:
    """The effort of a plan. `writes[i]` says whether call i changes something; the caller knows, from state hashes or, where
    nothing is executed, from the tool's name (generation.specs.naming.changes)."""
    assert len(plan) == len(writes), "one truth value for each call"
    dependencies = sum(any(map(placeholder, call.arguments.values())) for call in plan)
    return Effort(calls=len(plan), dependencies=dependencies, writes=sum(writes))


def difficulty(effort: Effort) -> Difficulty:
    """The band of the score: easy up to 2, medium 3 to 5, hard from 6."""
    return next(name for name, (_, high) in BANDS.items() if high is None or effort.score <= high)
