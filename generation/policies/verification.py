"""Verifies rules by execution: on calls sampled from the database, each allows some and forbids some.

A rule whose look-up fails, that forbids everything or that nothing can break would teach nothing, and is refused with
the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from core.messages import ToolSpec
from core.policy import ArgumentRule, Comparison, IdentityRule, Policy, Rule, StaffRule, StateRule
from core.schemas import schema_error
from generation.database.image import Image
from generation.database.sandbox import DEFAULT_LIMITS, Sandbox
from generation.database.sql_tools import SqlTool, sample_arguments
from generation.environments.base import Environment, PastCall
from generation.environments.clock import drawn_time
from generation.environments.sql import SqlDomainEnvironment
from generation.policies.comparisons import governs, reference
from generation.policies.problems import candidates, rule_problems
from generation.policies.violations import broken_rules, look_up_rows
from generation.specs.naming import changes
from generation.specs.resolved_schema import field

Calls = Mapping[str, list[dict[str, Any]]]
"""Tool -> arguments of sampled calls."""


class Verifier:
    """Decides whether rules fit a set of tools. With their database, they are tried on it; without one,
    rules that look at the state are refused, because nothing could check them."""

    def __init__(
        self, tools: Iterable[ToolSpec], database: Path | None, sql_tools: tuple[SqlTool, ...], now: str
    ) -> None:
        self.specs = {tool.name: tool for tool in tools}
        self.now = now
        self.calls: Calls = {}
        self._domain_environment: SqlDomainEnvironment | None = None
        if database is not None:
            self.calls = _sampled(sql_tools, database)
            self._domain_environment = SqlDomainEnvironment("policy", database, sql_tools)

    def close(self) -> None:
        if self._domain_environment is not None:
            self._domain_environment.close()

    async def refusal(self, rule: Rule) -> str:
        """Why the rule cannot be used; "" if it can."""
        if found := rule_problems(rule, self.specs):
            return "; ".join(found)
        looks_up = isinstance(rule, StateRule) or (isinstance(rule, IdentityRule) and rule.look_up is not None)
        if self._domain_environment is None:
            return "no tool is really executed here, so no look-up can check it" if looks_up else ""
        environment = self._domain_environment.open()
        try:
            return await self._tried(rule, environment)
        finally:
            environment.close()

    def forbids_all(self, rules: Iterable[Rule]) -> bool:
        """Whether the rules leave no tool that changes something to the assistant."""
        staff = {tool for rule in rules if isinstance(rule, StaffRule) and not rule.when for tool in rule.tools}
        return {name for name in self.specs if changes(name)} <= staff

    async def _tried(self, rule: Rule, environment: Environment) -> str:
        governed = list(self._governed(rule))
        if not governed:
            return "it governs none of the calls that were sampled from the data"
        if isinstance(rule, StateRule) and (problem := await self._look_up_problem(rule, governed, environment)):
            return problem
        earlier = await self._found(rule, environment) if isinstance(rule, IdentityRule) else []
        policy, broken = Policy(rules=(rule,)), 0
        for tool, arguments, now in governed:
            broken += bool(await broken_rules(policy, tool, arguments, environment, None, now, earlier))
        if broken == len(governed):
            return f"it forbids all of {len(governed)} calls that were sampled from the data" * _must_allow(rule)
        if isinstance(rule, ArgumentRule):
            variants = (
                (tool, variant, now) for tool, given, now in governed for variant in self._variants(rule, tool, given)
            )
            for tool, arguments, now in variants:
                broken += bool(await broken_rules(policy, tool, arguments, environment, None, now))
        if not broken and isinstance(rule, ArgumentRule | StateRule):
            return f"it forbids none of {len(governed)} calls that were sampled from the data"
        return ""

    def _governed(self, rule: Rule) -> Iterator[tuple[str, dict[str, Any], str]]:
        """(tool, arguments, time) of sampled calls that the rule governs, each at another time, as dialogues have."""
        for tool in rule.tools:
            for number, sampled in enumerate(self.calls.get(tool, ())):
                now = drawn_time(f"{rule.rule_id}/{number}", self.now)
                for arguments in _meeting(rule.when, sampled, self.specs[tool]):
                    if governs(rule.when, arguments, now):
                        yield tool, arguments, now
                        break

    async def _look_up_problem(
        self, rule: StateRule, governed: list[tuple[str, dict[str, Any], str]], environment: Environment
    ) -> str:
        failures: list[str] = []
        found = [await look_up_rows(rule.look_up, arguments, environment, failures) for _, arguments, _ in governed]
        if failures:
            return f"its look-up fails: {failures[0]}"
        return "" if any(found) else f"its look-up finds nothing for {len(governed)} sampled calls"

    async def _found(self, rule: IdentityRule, environment: Environment) -> list[PastCall]:
        """What the tools that identify users return for their sampled arguments."""
        calls = [(tool, arguments) for tool in rule.first for arguments in self.calls.get(tool, ())]
        return [(tool, given, (await environment.call(tool, given)).content) for tool, given in calls]

    def _variants(self, rule: ArgumentRule, tool: str, given: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The call with other values of the arguments that the rule limits: users may ask for any."""
        spec = self.specs[tool]
        for comparison in rule.require:
            schema = field(spec.parameters, comparison.field)
            if comparison.field in given and schema is not None:
                for value in candidates([comparison], schema):
                    yield given | {comparison.field: value}


def _must_allow(rule: Rule) -> bool:
    """Whether a rule may not forbid all calls. Without a user who agrees or staff, the others always do."""
    return isinstance(rule, ArgumentRule | StateRule | IdentityRule)


def _meeting(when: Iterable[Comparison], sampled: dict[str, Any], spec: ToolSpec) -> Iterator[dict[str, Any]]:
    """Arguments that may meet the condition: as sampled, else with the values that it names."""
    yield sampled
    for comparison in when:
        literals = comparison.value if isinstance(comparison.value, list) else [comparison.value]
        schema = field(spec.parameters, comparison.field)
        for value in candidates([comparison], schema) if schema and not any(map(reference, literals)) else ():
            changed = sampled | {comparison.field: value}
            if schema_error(changed, spec.parameters) is None:
                yield changed


def _sampled(tools: Iterable[SqlTool], database: Path) -> Calls:
    sandbox = Sandbox(Image.read(database), DEFAULT_LIMITS)
    try:
        return {tool.spec.name: sample_arguments(tool, sandbox) for tool in tools}
    finally:
        sandbox.close()
