"""Which subgoals of the task being played are achieved, decided by execution instead of by the assistant's words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, combinations

from core.dialogue import PlannedCall, Task
from generation.environments.base import DomainEnvironment
from generation.llm.contexts import Achieved
from generation.tasks.execution import ProofError, Trace, execute
from generation.tasks.mentions import mentions_value

MAX_CHANGING = 6
"""Up to this many changing subgoals, any selection of them is recognised (2^6 states); beyond, only the gold order."""


class Achievements:
    """Compares the state of a dialogue with the states that a task's gold calls lead to from its start, `snapshot`.

    The gold calls run once, before the user's first message; the calls of single subgoals only if the dialogue reaches
    a state that the gold calls do not pass through.
    """

    def __init__(self, task: Task, domain_environment: DomainEnvironment, snapshot: bytes) -> None:
        self.task = task
        self._domain_environment = domain_environment
        self._snapshot = snapshot
        self._values: list[list[str]] = []
        self._writing: list[PlannedCall] = []
        self._states: dict[str, frozenset[int]] = {}
        self._knows_selections = False

    async def of(self, state_hash: str, answers: Sequence[str]) -> tuple[Achieved, ...] | None:
        """The verdict on each subgoal, in a state and after some `answers`. In a state that no selection of the
        subgoals leads to, no changing subgoal is achieved. None if the gold calls cannot be made."""
        try:
            if not self._states:
                await self._follow_gold_calls()
        except ProofError:
            return None
        if state_hash not in self._states and not self._knows_selections:
            await self._try_selections()
        text, changing = "\n".join(answers), {call.subgoal for call in self._writing}
        done = self._states.get(state_hash, frozenset())
        return tuple(
            Achieved(
                in_state=subgoal in done if subgoal in changing else None,
                told=all(mentions_value(text, value) for value in values),
            )
            for subgoal, values in enumerate(self._values)
        )

    async def _follow_gold_calls(self) -> None:
        """Run the gold calls; note the values to be told and the subgoals that each state on their way has."""
        trace = await self._run(self.task.gold_calls)
        self._values = [[] for _ in self.task.subgoals]
        for call, writes, told in zip(trace.calls, trace.writes, trace.told, strict=True):
            self._values[call.subgoal] += told
            self._writing += [call] if writes else []
        changing = {call.subgoal for call in self._writing}
        for made, state_hash in enumerate(trace.hashes):
            rest = zip(trace.calls[made:], trace.writes[made:], strict=True)
            self._states[state_hash] = frozenset(changing - {call.subgoal for call, writes in rest if writes})

    async def _try_selections(self) -> None:
        """Note the state of every selection of changing subgoals, the larger ones first: of two that lead to the same
        state, the larger one counts."""
        self._knows_selections = True
        changing = sorted({call.subgoal for call in self._writing})
        sizes = range(len(changing) - 1, 0, -1) if len(changing) <= MAX_CHANGING else ()
        for selected in chain.from_iterable(combinations(changing, size) for size in sizes):
            try:
                trace = await self._run([call for call in self._writing if call.subgoal in selected])
            except ProofError:  # one subgoal needs what another one creates
                continue
            self._states.setdefault(trace.hashes[-1], frozenset(selected))

    async def _run(self, calls: Sequence[PlannedCall]) -> Trace:
        environment = self._domain_environment.open(self._snapshot)
        try:
            return await execute(calls, environment)
        finally:
            environment.close()
