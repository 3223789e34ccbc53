"""Executes plans: what each call changes, which rules of the policy it breaks, and what the user must learn from it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from core.dialogue import Evidence, PlannedCall
from core.placeholders import placeholder, resolve, resolve_arguments, rows_of
from core.policy import Policy
from generation.environments.base import Environment, PastCall
from generation.llm.base import RejectedAnswerError
from generation.policies.violations import broken_rules
from generation.specs.json_values import json_or_text
from generation.specs.spelling import snake

MAX_TOLD_ROWS = 3
"""A task may report the values of at most this many rows of a result; one with more is refused as not checkable."""


class ProofError(RejectedAnswerError):
    """The plan could not be proved; the message says why."""


@dataclass(frozen=True)
class Premises:
    """What a proof takes for granted about its dialogue: the columns that hold yes and no as 1 and 0 (`flags`), the
    policy, the time, and the calls before the task, which may have identified the user."""

    flags: frozenset[str] = frozenset()
    policy: Policy | None = None
    now: str = ""
    earlier: tuple[PastCall, ...] = ()


NO_PREMISES = Premises()


@dataclass(frozen=True)
class Trace:
    """An executed plan: its calls with real arguments, the state hashes before the first and after each call
    (len(calls) + 1), the result of each call, the values that the user must learn from each call, and the ids of the
    policy's rules that each call breaks."""

    calls: tuple[PlannedCall, ...]
    hashes: tuple[str, ...]
    results: tuple[str, ...]
    told: tuple[tuple[str, ...], ...]
    broken: tuple[tuple[str, ...], ...]

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
    plan: Iterable[PlannedCall],
    environment: Environment,
    goal: str | None = None,
    premises: Premises = NO_PREMISES,
    only: Set[int] | None = None,
) -> Trace:
    """Run a plan on a fork of `environment`; `only` are the indexes of the calls to make (None: all). With a `goal`, a
    new row's key is to be told only if the goal asks for it (`asks_for_key`); flags need not be told (`is_flag`).
    Raises ProofError at a call that fails, finds nothing or is ambiguous."""
    fork = environment.fork()
    try:
        return await _run([(i, call) for i, call in enumerate(plan) if only is None or i in only], fork, goal, premises)
    finally:
        fork.close()


async def _run(
    plan: Sequence[tuple[int, PlannedCall]], fork: Environment, goal: str | None, premises: Premises
) -> Trace:
    """Run calls with the indexes that placeholders know them by."""
    calls: list[PlannedCall] = []
    hashes = [fork.state_hash()]
    values: dict[int, Any] = {}
    results: list[str] = []
    told: list[tuple[str, ...]] = []
    broken: list[tuple[str, ...]] = []
    made_before: list[PastCall] = []
    for index, planned in plan:
        try:
            arguments = resolve_arguments(planned.arguments, values)
        except LookupError as error:
            raise ProofError(f"call {index} ({planned.tool}): {error}") from None
        broken.append(await _broken(premises, planned.tool, arguments, fork, made_before))
        result = await fork.call(planned.tool, arguments)
        made_before.append((planned.tool, arguments, result.content))
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
        told.append((*_told_fields(made, result.value, index, premises.flags), *_told_answers(made, values, index)))
    return Trace(tuple(calls), tuple(hashes), tuple(results), tuple(told), tuple(broken))


def refuse_broken(trace: Trace) -> None:
    """Raises ProofError for a plan that breaks a rule of the policy."""
    for index, (call, rules) in enumerate(zip(trace.calls, trace.broken, strict=True)):
        if rules:
            raise ProofError(f"the policy forbids call {index} ({call.tool}): rule {', '.join(rules)}")


async def _broken(
    premises: Premises, tool: str, arguments: dict[str, Any], fork: Environment, earlier: Sequence[PastCall]
) -> tuple[str, ...]:
    if premises.policy is None:
        return ()
    earlier = (*premises.earlier, *earlier)
    rules = await broken_rules(premises.policy, tool, arguments, fork, None, premises.now, earlier)
    return tuple(rule.rule_id for rule in rules)


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


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def sources(plan: Sequence[PlannedCall], index: int) -> set[int]:
    """A call and those whose results it or its answer needs, directly or indirectly."""
    values = (*plan[index].arguments.values(), *plan[index].tell)
    needed = {call for parsed in map(placeholder, values) if parsed for call in parsed.calls} - {index}
    return {index}.union(*(sources(plan, call) for call in needed))


def evidence(plan: Sequence[PlannedCall], trace: Trace) -> Evidence:
    """The evidence that one decision of the plan, a write or a computed answer, rests on at most: the reading calls
    whose results it needs, and their rows."""
    burdens = [Evidence()]
    for index, call in enumerate(plan):
        if trace.writes[index] or any(map(placeholder, call.tell)):
            reads = [i for i in sources(plan, index) if not trace.writes[i]]
            rows = sum(len(rows_of(json_or_text(trace.results[i]))) for i in reads)
            burdens.append(Evidence(lookups=len(reads), rows=rows))
    return max(burdens, key=lambda burden: (burden.rows, burden.lookups))
