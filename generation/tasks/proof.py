"""Proof by execution: what a task's gold calls change, what the user must learn, and whether that can be checked."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from core.dialogue import Evidence, PlannedCall, Task
from core.placeholders import placeholder, resolve, resolve_arguments, rows_of
from generation.environments.base import Environment
from generation.llm.base import RejectedAnswerError
from generation.specs.json_values import json_or_text
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
        return await _run(tuple(enumerate(plan)), fork, goal, flags)
    finally:
        fork.close()


async def _run(plan: Sequence[tuple[int, PlannedCall]], fork: Environment, goal: str | None, flags: Set[str]) -> Trace:
    """Run calls with the indexes that placeholders know them by."""
    calls: list[PlannedCall] = []
    hashes = [fork.state_hash()]
    values: dict[int, Any] = {}
    results: list[str] = []
    told: list[tuple[str, ...]] = []
    for index, planned in plan:
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
            keys = tuple(n for n in made.tell if placeholder(n) or (n != "rows_affected" and asks_for_key(goal, n)))
            made = made.model_copy(update={"tell": keys})
        calls.append(made)
        hashes.append(fork.state_hash())
        results.append(result.content)
        told.append((*_told_fields(made, result.value, index, flags), *_told_answers(made, values, index)))
    return Trace(tuple(calls), tuple(hashes), tuple(results), tuple(told))


def _told_fields(planned: PlannedCall, value: Any, index: int, flags: Set[str]) -> Iterator[str]:
    names = [name for name in planned.tell if not placeholder(name)]
    if not names:
        return
    rows = rows_of(value)
    if len(rows) > MAX_TOLD_ROWS:
        raise ProofError(f"call {index} ({planned.tool}) returns {len(rows)} rows; at most {MAX_TOLD_ROWS} can be told")
    for name in names:
        if any(not isinstance(row, dict) or row.get(name) in (None, "") for row in rows):
            raise ProofError(f"call {index} ({planned.tool}) returns no {name!r} to tell")
    yield from (_text(row[name]) for row in rows for name in names if not is_flag(name, row[name], flags))


def _told_answers(planned: PlannedCall, values: Mapping[int, Any], index: int) -> Iterator[str]:
    """The answers that are computed from the results so far."""
    for answer in filter(placeholder, planned.tell):
        try:
            yield _text(resolve(answer, values))
        except LookupError as error:
            raise ProofError(f"what call {index} ({planned.tool}) tells: {error}") from None


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
        fork = environment.fork()
        try:
            early = (await _run([(i, trace.calls[i]) for i in sorted(used)], fork, None, flags)).told[-1]
        except ProofError:
            early = ()
        finally:
            fork.close()
        if set(early) != set(told):
            raise ProofError(
                f"what call {index} ({plan[index].tool}) tells depends on whether it is made before or after the "
                "changes: tell what they do not touch"
            )


def _sources(plan: Sequence[PlannedCall], index: int) -> set[int]:
    """A call and those whose results it or its answer needs, directly or indirectly."""
    values = (*plan[index].arguments.values(), *plan[index].tell)
    needed = {call for parsed in map(placeholder, values) if parsed for call in parsed.calls} - {index}
    return {index}.union(*(_sources(plan, call) for call in needed))


def evidence(plan: Sequence[PlannedCall], trace: Trace) -> Evidence:
    """The evidence that one decision of the plan, a write or a computed answer, rests on at most: the reading calls
    whose results it needs, and their rows."""
    burdens = [Evidence()]
    for index, call in enumerate(plan):
        if trace.writes[index] or any(map(placeholder, call.tell)):
            reads = [i for i in _sources(plan, index) if not trace.writes[i]]
            rows = sum(len(rows_of(json_or_text(trace.results[i]))) for i in reads)
            burdens.append(Evidence(lookups=len(reads), rows=rows))
    return max(burdens, key=lambda burden: (burden.rows, burden.lookups))


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
            "evidence": evidence(task.plan, trace),
        }
    )


async def prove_imported(task: Task, environment: Environment, flags: Set[str] = frozenset()) -> Task:
    """An imported task, proved if it has a plan; else its gold calls are only executed. Raises ProofError."""
    if task.plan:
        return await prove(task, environment, flags)
    if environment.executable:
        await execute(task.gold_calls, environment)
    return task
