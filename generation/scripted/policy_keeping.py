"""What the stand-in's task writer knows of the policy: arguments that a rule allows, and who has to be found first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.dialogue import PlannedCall
from core.placeholders import placeholder
from core.policy import ArgumentRule, IdentityRule, Policy, Rule, StaffRule
from generation.llm.contexts import TaskWriterContext
from generation.policies.comparisons import arguments_satisfy, governs, reference
from generation.specs.json_values import leaves


def keeps_policy(plan: Sequence[PlannedCall], context: TaskWriterContext) -> bool:
    """Whether a plan breaks no rule, as far as its literals and the writer's view of the data show. What the state
    forbids shows only in the proof."""
    policy = context.policy or Policy()
    return not any(
        _breaks(rule, plan, position, context)
        for position, call in enumerate(plan)
        for rule in policy.rules
        if call.tool in rule.tools and governs(rule.when, _literals(call), context.scene.now)
    )


def allowed_values(policy: Policy | None, tool: str, argument: str) -> list[Any]:
    """The values that the rules allow for an argument, where they list them; empty where they do not."""
    rules = [rule for rule in policy.rules if isinstance(rule, ArgumentRule) and tool in rule.tools] if policy else []
    lists = [c.value for rule in rules for c in rule.require if c.field == argument and c.op == "in"]
    return list(lists[0]) if lists else []


def _literals(call: PlannedCall) -> dict[str, Any]:
    """The arguments that stand in the plan; the others are known only when it is executed."""
    return {name: value for name, value in call.arguments.items() if placeholder(value) is None}


def _breaks(rule: Rule, plan: Sequence[PlannedCall], position: int, context: TaskWriterContext) -> bool:
    match rule:
        case ArgumentRule():
            return not arguments_satisfy(rule.require, _literals(plan[position]), context.scene.now)
        case StaffRule():
            return True
        case IdentityRule():
            finds = [index for index, call in enumerate(plan[:position]) if call.tool in rule.first]
            return not any(_concerns(rule, plan, position, found, context) for found in finds)
    return False


def _concerns(
    rule: IdentityRule, plan: Sequence[PlannedCall], position: int, found: int, context: TaskWriterContext
) -> bool:
    """Whether the call `found` returns whom the call at `position` is about: it takes that result, or rows of the view
    say so."""
    call = plan[position]
    names = [rule.subject]
    if rule.look_up is not None:
        names = [name for value in rule.look_up.arguments.values() if (name := reference(value))]
    given = [call.arguments.get(name) for name in names]
    if any((parsed := placeholder(value)) and parsed.calls == (found,) for value in given):
        return True
    rows = [row for table in context.view.values() for row in table]
    people = _having(rows, list(_literals(plan[found]).values()))
    subjects = [row.get(rule.subject) for row in _having(rows, given)] if rule.look_up is not None else given
    return any(subject is not None and _having([person], [subject]) for subject in subjects for person in people)


def _having(rows: Sequence[dict[str, Any]], values: Sequence[Any]) -> list[dict[str, Any]]:
    """The rows in which all these values occur."""
    return [row for row in rows if values and all(value in [leaf for _, leaf in leaves(row)] for value in values)]
