"""Proof by execution: what a task's gold calls change, what the user must learn, and whether that can be checked."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Any

from core.dialogue import PlannedCall, Task, placeholder, resolve_arguments
from generation.environments.base import Environment
from generation.llm.base import RejectedAnswerError
from generation.specs.naming import changes
from generation.specs.spelling import snake
from generation.tasks.difficulty import difficulty, effort
from generation.tasks.mentions import mentions_value
from generation.tasks.plan_form import form_problems

MAX_TOLD_ROWS = 3
"""A task may report the values of at most this many rows of a result; one with more is refused as not checkable."""


class ProofError(RejectedAnswerError):
    """The plan could not be proved; the message says why."""


@dataclass(frozen=True)
class Trace:
    """An executed plan: its calls with real arguments, the state hashes before the first and after each call
    (len(calls) + 1), the result of each call, and the values that the user must learn from each call."""

    calls: tuple[PlannedCall, ...]
    hashes: tuple[str, ...]
    results: tuple[str, ...]
    told: tuple[tuple[str, ...], ...]

    @property
    def told_values(self) -> tuple[str, ...]:
        """All values that the user must learn, each once."""
        return tuple(dict.fromkeys(itertools.chain.from_iterable(self.told)))

    @property
    def mutates(self) -> bool:
        return self.hashes[0] != self.hashes[-1]

    @property
    def writes(self) -> tuple[bool, ...]:
        """Which of the calls changed the state."""
        return tuple(before != after for before, after in itertools.pairwise(self.hashes))


async def execute(
    plan: Iterable[PlannedCall], environment: Environment, goal: str | None = None, flags: Set[str] = frozenset()
) -> Trace:
    """Run a plan on a fork of `environment`. With a `goal`, a new row's key is to be told only if the goal asks for it
    (`asks_for_key`); flags, `flags` among them, need not be told (`is_flag`). Raises ProofError at a call that fails,
    finds nothing or is ambiguous."""
    fork = environment.fork()
    try:
        return await _run(tuple(plan), fork, goal, flags)
    finally:
        fork.close()


async def _run(plan: tuple[PlannedCall, ...], fork: Environment, goal: str | None, flags: Set[str]) -> Trace:
    calls: list[PlannedCall] = []
    hashes = [fork.state_hash()]
    values: dict[int, Any] = {}
    results: list[str] = []
    told: list[tuple[str, ...]] = []
    for index, planned in enumerate(plan):
        try:
            arguments = resolve_arguments(planned.arguments, values)
        except LookupError as error:
            raise ProofError(f"call {index} ({planned.tool}): {error}") from None
        result = await fork.call(planned.tool, arguments)
        if result.in_vain:
            raise ProofError(f"call {index} ({planned.tool}) gives {result.content[:200]}")
        values[index] = result.value
        made = planned.model_copy(update={"arguments": arguments})
        if goal is not None and isinstance(result.value, dict) and "rows_affected" in result.value:
            keys = tuple(name for name in made.tell if name != "rows_affected" and asks_for_key(goal, name))
            made = made.model_copy(update={"tell": keys})
        calls.append(made)
        hashes.append(fork.state_hash())
        results.append(result.content)
        rows = _told_rows(made, result.value, index)
        told.append(
            tuple(_text(row[name]) for row in rows for name in made.tell if not is_flag(name, row[name], flags))
        )
    return Trace(tuple(calls), tuple(hashes), tuple(results), tuple(told))


def _told_rows(planned: PlannedCall, value: Any, index: int) -> list[dict[str, Any]]:
    if not planned.tell:
        return []
    rows = value if isinstance(value, list) else [value]
    if len(rows) > MAX_TOLD_ROWS:
        raise ProofError(f"call {index} ({planned.tool}) returns {len(rows)} rows; at most {MAX_TOLD_ROWS} can be told")
    for name in planned.tell:
        if any(not isinstance(row, dict) or row.get(name) in (None, "") for row in rows):
            raise ProofError(f"call {index} ({planned.tool}) returns no {name!r} to tell")
    return rows


_FLAG_WORDS = {"is", "has", "was", "can", "does", "allows", "needs"}


def is_flag(name: str, value: Any, flags: Set[str] = frozenset()) -> bool:
    """Whether a result's field is a flag, which an answer says as "active" or "not yet paid" and never as a value: a
    boolean, or 0 or 1 in a field called is_… or has_… or one of `flags`, the flag columns of the database."""
    if isinstance(value, bool) or not isinstance(value, int) or value not in (0, 1):
        return isinstance(value, bool)
    return snake(name) in flags or snake(name).split("_")[0] in _FLAG_WORDS


_KEY = r"(?:id|identifier|number|key|code|reference)"
_ASKS_FOR_A_KEY = (
    rf"\bits (?:new |own )?{_KEY}",
    rf"\bnew (?:\w+ )?{_KEY}",
    rf"\b(?:confirmation|reference) {_KEY}",
    rf"\b{_KEY} (?:(?:of|for) (?:the|that|this|your) new|(?:that )?(?:is |was |it )?(?:assigned|given|generated|gets))",
)


def asks_for_key(goal: str, name: str) -> bool:
    """Whether a goal asks for the new row's key `name`: "… and get its loan id", "the number of the new loan". A value
    given for it ("loan id 7") does not."""
    *noun, last = name.casefold().replace("_", " ").split()
    if re.fullmatch(_KEY, last):
        named = [rf"\b{re.escape(' '.join(noun))} {_KEY}"] if noun else []
    else:
        named = [rf"\b{re.escape(' '.join([*noun, last]))}"]
    text = " ".join(goal.casefold().split())
    return any(re.search(rf"(?:{pattern})\b(?!\W{{0,2}}[\w-]*\d)", text) for pattern in (*_ASKS_FOR_A_KEY, *named))


def check_trace(trace: Trace, goal: str) -> None:
    """Accept a task only if it starts unsolved, an empty dialogue would fail it, and its last call
    solves it but no earlier one does. Raises ProofError otherwise."""
    if not trace.mutates and not trace.told_values:
        raise ProofError(
            "the plan neither changes anything nor gives anything to tell but yes and no: there is nothing to check"
        )
    if not trace.mutates and all(mentions_value(goal, value) for value in trace.told_values):
        raise ProofError("everything to be told is already in the goal: a dialogue without any call would pass")
    for done in range(len(trace.calls)):
        seen = " ".join([goal, *trace.results[:done]])
        if trace.hashes[done] == trace.hashes[-1] and all(mentions_value(seen, value) for value in trace.told_values):
            raise ProofError(f"the task is solved after {done} of its {len(trace.calls)} calls")


async def check_order(
    plan: Sequence[PlannedCall], trace: Trace, environment: Environment, flags: Set[str] = frozenset()
) -> None:
    """Accept only values to be told that are the same before and after the changes of the other calls: agents make
    independent calls in any order, or at once. Raises ProofError otherwise."""
    for index, told in enumerate(trace.told):
        used = _sources(plan, index)
        if not told or not any(trace.writes[:index]) or any(trace.writes[i] for i in used):
            continue
        try:
            early = (await execute([trace.calls[i] for i in sorted(used)], environment, flags=flags)).told[-1]
        except ProofError:
            early = ()
        if set(early) != set(told):
            raise ProofError(
                f"what call {index} ({plan[index].tool}) tells depends on whether it is made before or after the "
                "changes: tell what they do not touch"
            )


def _sources(plan: Sequence[PlannedCall], index: int) -> set[int]:
    """A call and those whose results it needs, directly or indirectly."""
    references = [placeholder(value) for value in plan[index].arguments.values()]
    return {index}.union(*(_sources(plan, reference[0]) for reference in references if reference))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


async def prove(task: Task, environment: Environment, flags: Set[str] = frozenset()) -> Task:
    """The task with the results of executing its plan: gold calls, values that the user must learn (without `flags`),
    whether the state changes, and the measured difficulty. Without an executable environment, only the plan's form is
    checked. Raises ProofError."""
    if problems := list(form_problems(task.plan, {tool.name: tool for tool in environment.tools}, len(task.subgoals))):
        raise ProofError("; ".join(dict.fromkeys(problems)))
    if not environment.executable:
        measured = difficulty(effort(task.plan, [changes(call.tool) for call in task.plan]))
        return task.model_copy(update={"difficulty": measured})
    trace = await execute(task.plan, environment, task.goal, flags)
    check_trace(trace, task.goal)
    await check_order(task.plan, trace, environment, flags)
    told = zip(task.plan, trace.calls, strict=True)
    return task.model_copy(
        update={
            "plan": tuple(planned.model_copy(update={"tell": made.tell}) for planned, made in told),
            "gold_calls": trace.calls,
            "told_values": trace.told_values,
            "mutates": trace.mutates,
            "difficulty": difficulty(effort(task.plan, trace.writes)),
        }
    )


async def prove_imported(task: Task, environment: Environment, flags: Set[str] = frozenset()) -> Task:
    """An imported task, proved if it has a plan; else its gold calls are only executed. Raises ProofError."""
    if task.plan:
        return await prove(task, environment, flags)
    if environment.executable:
        await execute(task.gold_calls, environment)
    return task
