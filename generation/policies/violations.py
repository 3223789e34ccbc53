"""Finds the rules of a policy that calls break: the one definition that proofs, validation and statistics share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.dialogue import calls
from core.messages import AssistantMessage, ContractError, Message, ToolMessage
from core.placeholders import rows_of
from core.policy import (
    ArgumentRule,
    Comparison,
    ConfirmRule,
    IdentityRule,
    LookUp,
    Policy,
    Rule,
    RuleBase,
    StaffRule,
    StateRule,
)
from generation.database.guard import TOO_MANY_ROWS
from generation.environments.base import Environment, PastCall
from generation.policies.comparisons import (
    arguments_satisfy,
    equal,
    exempts,
    field_value,
    governs,
    reference,
    satisfied,
)
from generation.specs.json_values import json_or_text, leaves
from generation.utterances.consent import agreed


@dataclass(frozen=True)
class Violation:
    """A call of a transcript that breaks a rule: the index of its message, its id and its tool."""

    position: int
    call_id: str
    tool: str
    rule_id: str


async def broken_rules(
    policy: Policy,
    name: str,
    arguments: dict[str, Any],
    environment: Environment,
    transcript: Sequence[Message] | None,
    now: str,
    earlier: Sequence[PastCall] | None = None,
) -> tuple[Rule, ...]:
    """The rules that one call breaks if it is made now, in their order; it is not made. Arguments that it leaves out
    have the defaults of the tool's schema.

    State rules look up on a fork of `environment`, which has no injected faults; where no tool is really executed they
    are not checked. Rules about the dialogue read `transcript`, its messages before the message with the call. Without
    one (None), a plan is executed, in which no one is asked: confirmation is not checked, and identity only if the
    calls `earlier` than this one are given.
    """
    spec = next((tool for tool in environment.tools if tool.name == name), None)
    effective = spec.with_defaults(arguments) if spec else arguments
    rules = [rule for rule in policy.rules if name in rule.tools and governs(rule.when, effective, now)]
    if not rules:
        return ()
    call = _Call(name, effective, environment, now)
    if transcript is not None:
        transcript = _before_call(transcript)
        earlier = calls(transcript)
    return tuple([rule for rule in rules if await _breaks(rule, call, transcript, earlier)])


async def violations(
    policy: Policy, messages: Sequence[Message], environment: Environment, now: str, start: int = 0
) -> list[Violation]:
    """Every call from message `start` on that breaks a rule.

    `environment` is in the state before message `start`; the calls are repeated in it. Earlier messages are only read,
    for who was found and what was agreed. Calls whose arguments are not JSON never reached a tool and are left out.
    """
    found: list[Violation] = []
    for position, message in enumerate(messages[start:], start):
        for call in message.tool_calls or () if isinstance(message, AssistantMessage) else ():
            try:
                arguments = call.parsed()
            except ContractError:
                continue
            broken = await broken_rules(policy, call.name, arguments, environment, messages[:position], now)
            found += [Violation(position, call.id, call.name, rule.rule_id) for rule in broken]
            if environment.executable:
                await environment.call(call.name, arguments, messages[:position])
    return found


@dataclass(frozen=True)
class _Call:
    """The call to check, and where and when it is made."""

    tool: str
    arguments: dict[str, Any]
    environment: Environment
    now: str

    async def rows(self, look_up: LookUp, failures: list[str] | None = None) -> list[dict[str, Any]]:
        return await look_up_rows(look_up, self.arguments, self.environment, failures)


async def look_up_rows(
    look_up: LookUp, arguments: Mapping[str, Any], environment: Environment, failures: list[str] | None = None
) -> list[dict[str, Any]]:
    """The rows that a rule's look-up returns before a call with these arguments; none if it fails, and `failures` gets
    why. It is made on a fork, which has no injected faults."""
    fork = environment.fork()
    try:
        return await _look_up(look_up, arguments, fork, [] if failures is None else failures)
    finally:
        fork.close()


async def _look_up(
    look_up: LookUp, arguments: Mapping[str, Any], fork: Environment, failures: list[str]
) -> list[dict[str, Any]]:
    scopes: list[dict[str, Any]] = [{}]
    if look_up.of is not None:
        outer = await _look_up(look_up.of, arguments, fork, failures)
        scopes = [row | member for row in outer for member in _members(row, look_up.each)]
    rows: list[dict[str, Any]] = []
    for scope in scopes:
        given = {name: _filled(value, {**arguments, **scope}) for name, value in look_up.arguments.items()}
        result = await fork.call(look_up.tool, {name: value for name, value in given.items() if value is not None})
        if result.error:
            failures.append(f"{look_up.tool}: {result.content}")
        else:
            found = [row if isinstance(row, dict) else {"value": row} for row in rows_of(result.value)]
            rows += [scope | row for row in found]
    return rows


def _members(row: dict[str, Any], each: str) -> list[dict[str, Any]]:
    members = field_value(row, each) if each else [{}]
    return [member for member in members if isinstance(member, dict)] if isinstance(members, list) else []


def _filled(value: Any, fields: Mapping[str, Any]) -> Any:
    name = reference(value)
    return value if name is None else field_value(fields, name)


async def _breaks(
    rule: RuleBase, call: _Call, transcript: Sequence[Message] | None, earlier: Sequence[PastCall] | None
) -> bool:
    """Whether a call that the rule governs breaks it."""
    match rule:
        case ArgumentRule():
            return not arguments_satisfy(rule.require, call.arguments, call.now)
        case StateRule():
            return call.environment.executable and await _state_forbids(rule, call)
        case IdentityRule():
            return earlier is not None and not await _identified(rule, call, earlier)
        case ConfirmRule():
            return transcript is not None and not agreed(transcript, call.tool, call.arguments)
        case StaffRule():
            return True
    raise AssertionError(f"unknown form of rule: {type(rule)}")


async def _state_forbids(rule: StateRule, call: _Call) -> bool:
    """A look-up that more rows match than it may return decides nothing: the call is then not allowed."""
    failures: list[str] = []
    rows = await call.rows(rule.look_up, failures)
    if any(TOO_MANY_ROWS in failure for failure in failures):
        return True
    if rule.fewer_than is None:
        return any(True for _ in breaking(rule, rows, call.arguments, call.now))
    counted = [row for row in rows if not exempts(rule.unless, row, call.arguments, call.now)]
    return sum(satisfied(rule.require, row, call.arguments, call.now) for row in counted) >= rule.fewer_than


def breaking(
    rule: StateRule, rows: Iterable[dict[str, Any]], arguments: Mapping[str, Any], now: str
) -> Iterator[tuple[dict[str, Any], tuple[Comparison, ...]]]:
    """The rows that break a rule about each of them, with the comparisons that they do not satisfy."""
    for row in rows:
        tests = tuple(test for test in rule.require if not satisfied([test], row, arguments, now))
        if tests and not exempts(rule.unless, row, arguments, now):
            yield row, tests


async def _identified(rule: IdentityRule, call: _Call, earlier: Iterable[PastCall]) -> bool:
    """Whether an earlier call has returned whom the call concerns: in a field of that name, or where no result has
    such a field, in any. It concerns no one if the argument is left out or its record does not exist."""
    if rule.look_up is None:
        subjects = [field_value(call.arguments, rule.subject)]
    elif call.environment.executable:
        subjects = [field_value(row, rule.subject) for row in await call.rows(rule.look_up)]
    else:
        return True
    results = [json_or_text(result) for tool, _, result in earlier if tool in rule.first]
    returned = [leaf for result in results if not _is_error(result) for leaf in leaves(result)]
    name = rule.subject.rpartition(".")[2]
    named = [value for field, value in returned if field == name]
    known = named or [value for _, value in returned]
    return all(
        value is None or any(equal(value, other) for other in known)
        for subject in subjects
        for _, value in leaves(subject)
    )


def _is_error(result: Any) -> bool:
    return isinstance(result, dict) and result.keys() == {"error"}


def _before_call(messages: Sequence[Message]) -> Sequence[Message]:
    """The messages before the assistant's message whose calls are being made: those without all results."""
    answered = {message.tool_call_id for message in messages if isinstance(message, ToolMessage)}
    for position in range(len(messages) - 1, -1, -1):
        message = messages[position]
        if isinstance(message, AssistantMessage):
            is_open = any(call.id not in answered for call in message.tool_calls or ())
            return messages[:position] if is_open else messages
    return messages
