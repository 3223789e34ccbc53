"""What a special request demands of its proof (core.request_kinds.RequestKind).

Most kinds can be met, and their plan must show what is special about them (`demand`). Where nothing may happen, the
plan shows the opposite: what a careless assistant would do works and changes the state, and only the policy, a tool
that is not offered, or the user's change of mind forbids it (`nothing_happens`).
"""

from __future__ import annotations

from collections.abc import Iterator

from core.dialogue import PlannedCall, Task
from core.placeholders import Placeholder, placeholder, rows_of
from core.policy import ArgumentRule, Policy, Rule, StaffRule, StateRule
from core.request_kinds import RequestKind
from core.typography import same_values
from generation.environments.base import Environment
from generation.policies.comparisons import arguments_satisfy
from generation.policies.violations import breaking, look_up_rows
from generation.specs.json_values import json_or_text, leaves
from generation.specs.naming import changes
from generation.tasks.difficulty import difficulty, effort
from generation.tasks.execution import Premises, ProofError, Trace, execute, is_flag, refuse_broken
from generation.tasks.mentions import mentions_value, states

_NEED_EXECUTION: frozenset[RequestKind] = frozenset(
    {"evidence", "computed", "long_result", "ambiguous", "forbidden", "not_found", "guided"}
)
_KEEP_TOOLS_BACK: frozenset[RequestKind] = frozenset({"late_tool", "no_tool"})
LONG_RESULT = 50
"""Rows that a long result exceeds."""
LEAST_ROWS = 3
"""Rows that evidence must be chosen from at least."""


def is_possible(kind: RequestKind, executable: bool, policy: Policy | None, is_first: bool) -> bool:
    """Whether a dialogue's next task can be of this kind. Tools can be kept back only from its first task on."""
    if kind in _NEED_EXECUTION and not executable:
        return False
    if kind in _KEEP_TOOLS_BACK and not is_first:
        return False
    if kind == "guided":
        return bool(policy and policy.workflows)
    return kind != "forbidden" or bool(refusing_rules(policy))


def refusing_rules(policy: Policy | None) -> tuple[str, ...]:
    """The ids of the rules that can make an assistant refuse a request; the others only say how it proceeds."""
    forms = (ArgumentRule, StateRule, StaffRule)
    return tuple(rule.rule_id for rule in policy.rules if isinstance(rule, forms)) if policy else ()


def form_problem(task: Task) -> str:
    """What a task lacks to be of its kind, whether or not it can be executed; "" if nothing."""
    match task.kind:
        case "incomplete" | "withdrawn":
            return _not_withheld(task)
        case "changed":
            return _first_wish_problem(task)
        case "late_tool" | "no_tool" if not task.late_tools:
            return "no tool is kept back: the plan's last call must change something"
        case "irrelevant" if task.plan:
            return "a request that has nothing to do with the service has no plan"
    return ""


async def demand(task: Task, trace: Trace, environment: Environment, premises: Premises) -> None:
    """Raises ProofError if the executed plan lacks what its kind of request demands."""
    if problem := _missing(task, trace):
        raise ProofError(problem)
    if task.kind == "changed":
        await _check_first_wish(task, trace, environment, premises)


def _missing(task: Task, trace: Trace) -> str:
    used = list(_placeholders(task))
    match task.kind:
        case "evidence":
            chosen = [p for _, p in used if p.function in ("lowest", "highest")]
            if not any(_row_count(p, trace) >= LEAST_ROWS for p in chosen):
                return (
                    f'no call takes a value that follows from comparing at least {LEAST_ROWS} rows: "${{lowest FIELD of '
                    'CALLS: FIELD}" or "${highest FIELD of CALLS: FIELD}"'
                )
        case "computed":
            if not any(_is_computed(p, trace) for p in map(placeholder, _tells(task)) if p):
                return 'nothing is told that must be computed from several rows: "${sum of CALLS: FIELD}" in "tell"'
            return _stands_in_results(trace)
        case "long_result":
            if not any(_row_count(p, trace) > LONG_RESULT for _, p in used if p.function):
                return f"no value is found among more than {LONG_RESULT} rows"
        case "ambiguous":
            fitting = [p for _, p in used if p.function == "where" and p.value in task.withheld]
            if not any(_row_count(p, trace) > 1 for p in fitting):
                return (
                    "no look-up returns several rows of which a withheld value tells the right one: "
                    '"${where FIELD is VALUE of CALL: FIELD}"'
                )
        case "late_tool":
            writers = [call.tool for call, writes in zip(trace.calls, trace.writes, strict=True) if writes]
            if not set(writers) & set(task.late_tools):
                return "no tool that the plan changes something with is offered late"
    return ""


def _placeholders(task: Task) -> Iterator[tuple[int, Placeholder]]:
    """(index of the call, placeholder) of every placeholder of the plan."""
    for index, call in enumerate(task.plan):
        for value in (*call.arguments.values(), *call.tell):
            if parsed := placeholder(value):
                yield index, parsed


def _tells(task: Task) -> Iterator[str]:
    return (name for call in task.plan for name in call.tell)


def _row_count(parsed: Placeholder, trace: Trace) -> int:
    return sum(len(rows_of(json_or_text(trace.results[call]))) for call in parsed.calls)


def _is_computed(parsed: Placeholder, trace: Trace) -> bool:
    return parsed.function in ("count", "sum", "average") and _row_count(parsed, trace) > 1


def _stands_in_results(trace: Trace) -> str:
    """Why a computed answer need not be computed, or ""."""
    computed = [
        value
        for call, told in zip(trace.calls, trace.told, strict=True)
        if any(map(placeholder, call.tell))
        for value in told
    ]
    read = {str(leaf) for result in trace.results for _, leaf in leaves(json_or_text(result))}
    return f"{computed[0]} stands in a result already" if computed and set(computed) <= read else ""


def _not_withheld(task: Task) -> str:
    """Why the withheld values are not ones that an assistant has to ask for, or ""."""
    arguments = [str(leaf) for call in task.plan for _, leaf in leaves(call.arguments)]
    if not task.withheld:
        return "no value is withheld: name one that the plan needs and the user gives only when asked"
    for value in task.withheld:
        if value not in arguments:
            return f"the withheld value {value!r} is not an argument of the plan"
        if not states(task.goal, value):
            return f"the withheld value {value!r} does not stand in the goal"
    return ""


def _first_wish_problem(task: Task) -> str:
    """Why the first wish is not one that the plan's last call could have granted, or ""."""
    last = task.plan[-1].arguments if task.plan else {}
    first = task.first_arguments
    if not first or any(name not in last or same_values(value, last[name]) for name, value in first.items()):
        return "the first wish must be another value for an argument of the plan's last call"
    unsaid = [str(value) for value in first.values() if not states(task.first_wish, str(value))]
    return f"the first wish does not say {', '.join(unsaid)}" if unsaid else ""


async def _check_first_wish(task: Task, trace: Trace, environment: Environment, premises: Premises) -> None:
    """Whether the user may change its mind at any time: the first wish is allowed, and after it was granted, the plan's
    last call still leads to the same state."""
    last = trace.calls[-1]
    if not trace.writes[-1]:
        raise ProofError("the plan's last call changes nothing, so that no wish could be changed")
    granted = last.model_copy(update={"arguments": last.arguments | task.first_arguments, "tell": ()})
    both = await execute([*trace.calls[:-1], granted, last], environment, premises=premises)
    if broken := [rule for rules in both.broken for rule in rules]:
        raise ProofError(f"the policy forbids the first wish: rule {', '.join(dict.fromkeys(broken))}")
    if both.hashes[-1] != trace.hashes[-1]:
        raise ProofError("once the first wish was granted, the plan leads to another state: change one value instead")
    before, granted_at, after = both.hashes[-3:]
    if granted_at in (before, after):
        raise ProofError("the first wish is true already, so that granting it would change nothing")


# Nothing may happen.


async def nothing_happens(task: Task, environment: Environment, premises: Premises) -> Task:
    """The proved task. Raises ProofError if the plan does not do what must not happen."""
    match task.kind:
        case "irrelevant":
            return _proved(task, ())
        case "not_found":
            await _check_not_found(task, environment)
            return _proved(task, ())
    trace = await execute(task.plan, environment, None, premises)
    if not trace.calls or not trace.writes[-1]:
        raise ProofError("the plan's last call changes nothing, so that nothing would have to be refused")
    if task.kind != "forbidden":
        refuse_broken(trace)
    match task.kind:
        case "no_tool":
            if offered := [
                c.tool for c, w in zip(trace.calls, trace.writes, strict=True) if w and c.tool not in task.late_tools
            ]:
                raise ProofError(f"{offered[0]} is offered and changes something")
            return _proved(task, ())
        case "withdrawn":
            return _proved(task, ())
        case _:
            return await _forbidden(task, trace, environment, premises)


def _proved(task: Task, gold_calls: tuple[PlannedCall, ...], told: tuple[str, ...] = ()) -> Task:
    """Difficulty counts what a correct assistant does."""
    measured = difficulty(effort(gold_calls, [False] * len(gold_calls)))
    update = {"gold_calls": gold_calls, "told_values": told, "mutates": False, "difficulty": measured}
    return task.model_copy(update=update)


async def _check_not_found(task: Task, environment: Environment) -> None:
    if not task.plan or changes(task.plan[0].tool) or any(map(placeholder, task.plan[0].arguments.values())):
        raise ProofError("the plan's first call must look up what the user names")
    fork = environment.fork()
    try:
        before = fork.state_hash()
        result = await fork.call(task.plan[0].tool, task.plan[0].arguments)
        if not result.in_vain or result.too_many_rows:
            raise ProofError(f"call 0 ({task.plan[0].tool}) finds something: {result.content[:200]}")
        if fork.state_hash() != before:
            raise ProofError(f"call 0 ({task.plan[0].tool}) changes something; look the record up")
    finally:
        fork.close()


async def _forbidden(task: Task, trace: Trace, environment: Environment, premises: Premises) -> Task:
    """A request whose last call one rule of the policy forbids, and whose look-ups show why."""
    if premises.policy is None or task.rule_id is None:
        raise ProofError("there is no policy that could forbid it")
    if early := [index for index, rules in enumerate(trace.broken[:-1]) if rules or trace.writes[index]]:
        raise ProofError(f"call {early[0]} ({trace.calls[early[0]].tool}) breaks a rule or changes something already")
    if trace.broken[-1] != (task.rule_id,):
        broken = ", ".join(trace.broken[-1]) or "no rule"
        raise ProofError(f"the plan's last call breaks {broken}; it must break {task.rule_id} and no other rule")
    reasons = await reasons_of(premises.policy, task.rule_id, trace, environment, premises)
    shown = "\n".join([*trace.results[:-1], premises.policy.shown])
    told = [value for values in trace.told[:-1] for value in values]
    told += [value for value in reasons if mentions_value(shown, value) and not mentions_value(task.goal, value)]
    return _proved(task, trace.calls[:-1], tuple(dict.fromkeys(told)))


async def reasons_of(
    policy: Policy, rule_id: str, trace: Trace, environment: Environment, premises: Premises
) -> tuple[str, ...]:
    """The values that explain a refusal: what the looked-up record has instead of what is required, the limit, or whom
    to turn to."""
    rule: Rule = policy.rule(rule_id)
    call = trace.calls[-1]
    match rule:
        case StaffRule():
            return (rule.contact,)
        case ArgumentRule():
            broken = [test for test in rule.require if not arguments_satisfy([test], call.arguments, premises.now)]
            limits = [test.value for test in broken if test.op in ("at_most", "at_least")]
            return tuple(str(limit) for limit in limits if not isinstance(limit, str))
        case StateRule(fewer_than=None):
            rows = await look_up_rows(rule.look_up, call.arguments, environment)
            first = next(breaking(rule, rows, call.arguments, premises.now), None)
            row, unsatisfied = first or ({}, ())
            return tuple(
                str(row[test.field])
                for test in unsatisfied
                if row.get(test.field) not in (None, "") and not is_flag(test.field, row[test.field], premises.flags)
            )
        case _:
            return ()
