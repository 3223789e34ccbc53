"""What a dialogue's calls do, found by making them again: the lines of the state that each changes, the rules it
breaks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from core.dialogue import Dialogue
from generation.environments.base import DomainEnvironment
from generation.policies.violations import Violation
from generation.validation.validate import Replay, replay

CallKey = tuple[int, str]
"""The index of a call's message, and the call's id."""


@dataclass(frozen=True)
class Replayed:
    """`changes` are lines of the state's difference by call, in the order of the calls; `violations` the broken
    rules."""

    changes: dict[CallKey, tuple[str, ...]] = field(default_factory=dict)
    violations: tuple[Violation, ...] = ()


async def replayed(dialogue: Dialogue, domain_environment: DomainEnvironment) -> Replayed:
    """Replay a dialogue on a fresh environment. Empty if its calls do not give the recorded results again: what they
    change now is then not what they changed."""
    again = await replay(dialogue, domain_environment)
    if not again.faithful:
        return Replayed()
    changes = await _changes(dialogue, domain_environment, again)
    return Replayed(changes, again.violations)


async def _changes(
    dialogue: Dialogue, domain_environment: DomainEnvironment, again: Replay
) -> dict[CallKey, tuple[str, ...]]:
    """What each of the calls that changed the state changed; the others need not be made."""
    changes: dict[CallKey, tuple[str, ...]] = {}
    environment = domain_environment.open()
    try:
        before = environment.state_diff()
        for number in range(len(dialogue.task_starts)):
            for position, call, arguments, _ in dialogue.executed(number):
                if (position, call.id) in again.changes:
                    await environment.call(call.name, arguments)
                    after = environment.state_diff()
                    changes[position, call.id] = _difference(before, after)
                    before = after
        return changes if environment.state_diff() == again.proof.diff else {}
    finally:
        environment.close()


def _difference(before: tuple[str, ...], after: tuple[str, ...]) -> tuple[str, ...]:
    """The lines that are new; of a call that only takes changes back, these."""
    new = Counter(after) - Counter(before)
    return tuple(new.elements()) or tuple(
        f"taken back: {line}" for line in (Counter(before) - Counter(after)).elements()
    )
