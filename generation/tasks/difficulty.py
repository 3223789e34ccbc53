"""Difficulty of a task, from the effort of solving it: calls, calls that need earlier results, and changes."""

from __future__ import annotations

from collections.abc import Sequence

from core.dialogue import Difficulty, PlannedCall
from core.messages import Frozen
from core.placeholders import placeholder

BANDS: dict[Difficulty, tuple[int, int | None]] = {"easy": (1, 2), "medium": (3, 5), "hard": (6, None)}
"""Difficulty -> lowest and highest score. An easy task is one or two look-ups, or one change; a medium one looks
something up and changes it; a hard one combines several of these."""


class Effort(Frozen):
    """The effort of solving a task: its `calls`, of which `dependencies` use a value from an earlier result and
    `writes` change something."""

    calls: int
    dependencies: int
    writes: int

    @property
    def score(self) -> int:
        """1 for each call, 1 more if it needs an earlier result, and 1 more if it changes something."""
        return self.calls + self.dependencies + self.writes


def effort(plan: Sequence[PlannedCall], writes: Sequence[bool]) -> Effort:
    """The effort of a plan. `writes[i]` is whether call i changes something: the caller infers it from state hashes or,
    without execution, from the tool's name (generation.specs.naming.changes)."""
    assert len(plan) == len(writes), "writes needs one value per call"
    dependencies = sum(any(map(placeholder, call.arguments.values())) for call in plan)
    return Effort(calls=len(plan), dependencies=dependencies, writes=sum(writes))


def difficulty(effort: Effort) -> Difficulty:
    """The band of the score: easy up to 2, medium 3 to 5, hard from 6."""
    return next(name for name, (_, high) in BANDS.items() if high is None or effort.score <= high)
