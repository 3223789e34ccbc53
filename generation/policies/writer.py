"""Makes the policy of a toolset: the LRM writes rules from schema and tools, and code keeps those that it verifies."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter, ValidationError

from core.messages import UserMessage
from core.policy import Policy, Rule
from core.settings import Settings, UserError
from generation.database.schema import read_schema
from generation.database.views import sample_rows
from generation.llm.base import Completion, RejectedAnswerError, Request, UnusableAnswerError
from generation.llm.contexts import PolicyContext
from generation.llm.meter import Meter
from generation.llm.parsing.json_text import first_json, first_records
from generation.policies.verification import Verifier
from generation.prompts import prompt_ids, render
from generation.tools.answer_schemas import rules as rules_schema
from generation.tools.toolset import Toolset, ToolsetProvenance

PROMPT = "policy"
_ROWS = 40
"""Rows of each table that the writer may see."""
_MAX_SHOWN_PROBLEMS = 8
_RULE: TypeAdapter[Rule] = TypeAdapter(Rule)


class PolicySettings(Settings):
    """How a toolset gets its policy."""

    rules: int = Field(ge=0, description="rules per policy at most; 0: no policies are written")
    attempts: int = Field(ge=1, description="requests in a row without a usable rule, until no more are asked for")
    file: Path | None = Field(
        description="JSON or YAML of your own policies, {domain: policy}; other domains get written ones"
    )


async def write_policy(toolset: Toolset, meter: Meter, settings: PolicySettings) -> Toolset:
    """The toolset with a policy of at most `settings.rules` rules, each of them verified; without one if none is valid,
    and `refused` says why. Raises LLMError if no model answers."""
    verifier = verifier_of(toolset)
    try:
        writer = _PolicyWriter(toolset, meter, verifier, settings.rules)
        await writer.write(settings.attempts)
    finally:
        verifier.close()
    prompts = toolset.provenance.prompts or {}
    return toolset.model_copy(
        update={
            "policy": Policy(rules=tuple(writer.rules.values())) if writer.rules else None,
            "refused": (*toolset.refused, *(f"policy: {reason}" for reason in writer.refused)),
            "counts": toolset.counts | {"rules": len(writer.rules), "rules_refused": len(writer.refused)},
            "provenance": toolset.provenance | ToolsetProvenance(prompts=prompts | {PROMPT: prompt_ids()[PROMPT]}),
        }
    )


def verifier_of(toolset: Toolset) -> Verifier:
    """The verifier of rules for a toolset."""
    database = toolset.database if toolset.engine == "sql" else None
    return Verifier(toolset.tools, database, toolset.sql_tools if database else (), toolset.now)


async def check_policy(policy: Policy, toolset: Toolset, where: str) -> None:
    """Raise UserError, which names the rule, if a given policy cannot be used with a toolset."""
    verifier = verifier_of(toolset)
    try:
        for rule in policy.rules:
            if problem := await verifier.refusal(rule):
                raise UserError(f"{where}: the rule {rule.rule_id} of {toolset.domain}: {problem}")
    finally:
        verifier.close()
    if len({rule.rule_id for rule in policy.rules}) != len(policy.rules):
        raise UserError(f"{where}: {toolset.domain} has two rules with the same rule_id; expected: one each")
    if verifier.forbids_all(policy.rules):
        raise UserError(f"{where}: the rules of {toolset.domain} leave the assistant nothing that it may change")


class _PolicyWriter:
    """Requests the rules of one toolset: keeps the valid ones of all answers, and what was refused in them."""

    def __init__(self, toolset: Toolset, meter: Meter, verifier: Verifier, limit: int) -> None:
        self.toolset = toolset
        self.meter = meter
        self.verifier = verifier
        self.limit = limit
        self.schema = read_schema(toolset.database, toolset.domain) if toolset.database else None
        self.rows = (
            sample_rows(toolset.database, self.schema, _ROWS, seed=0)
            if toolset.database and self.schema
            else toolset.rows
        )
        self.rules: dict[str, Rule] = {}
        self.refused: list[str] = []
        self._last_refused: list[str] = []
        self._requests = 0

    async def write(self, attempts: int) -> None:
        while len(self.rules) < self.limit:
            refused_before = len(self.refused)
            try:
                added = await self.meter.request(self._request, self._read, attempts)
            except UnusableAnswerError as error:
                if len(self.refused) == refused_before:
                    self.refused.append(error.problem)
                return
            if not added:
                return

    def _request(self, attempt: int) -> Request:
        key = f"policy/{self.toolset.domain}/{self._requests}"
        self._requests += 1
        limit = self.limit - len(self.rules)
        context = PolicyContext(
            domain=self.toolset.called,
            description=self.toolset.description,
            tools=self.toolset.tools,
            schema=self.schema,
            rows=self.rows,
            executable=self.toolset.engine == "sql",
            limit=limit,
            rules=tuple(self.rules.values()),
            refused=tuple(self._last_refused[:_MAX_SHOWN_PROBLEMS]),
        )
        return Request(
            role="tool_maker",
            messages=(UserMessage(content=render(PROMPT, **vars(context))),),
            key=key,
            affinity=f"tools/{self.toolset.domain}",
            context=context,
            json_schema=rules_schema(0 if self.rules else 1, limit),
        )

    async def _read(self, completion: Completion) -> int:
        """How many rules the answer added; 0 only for an empty array.

        Raises ValueError if the answer cannot be read, RejectedAnswerError if none of its rules is valid and new.
        """
        items = _read_rules(completion.message.content)
        if not items:
            if self.rules:
                return 0
            raise RejectedAnswerError("the array is empty, but rules are needed")
        before, reasons = len(self.rules), []
        for item in items:
            if problem := await self._add(item):
                reasons.append(f"{item.get('rule_id')}: {problem}")
        self.refused += reasons
        if len(self.rules) == before:
            raise RejectedAnswerError("; ".join(reasons[:_MAX_SHOWN_PROBLEMS]))
        self._last_refused = reasons
        return len(self.rules) - before

    async def _add(self, item: dict[str, Any]) -> str:
        """Adds the rule, unless the policy is full. Returns why it cannot be used, or ""."""
        try:
            rule = _RULE.validate_python(item)
        except ValidationError as error:
            first = error.errors()[0]
            return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        if rule.rule_id in self.rules:
            return "there is a rule of that id already"
        if any(_same_check(rule, other) for other in self.rules.values()):
            return "it checks the same as another rule"
        if problem := await self.verifier.refusal(rule):
            return problem
        if self.verifier.forbids_all([*self.rules.values(), rule]):
            return "with it, the rules leave the assistant nothing that it may change"
        if len(self.rules) < self.limit:
            self.rules[rule.rule_id] = rule
        return ""


def _same_check(one: Rule, other: Rule) -> bool:
    words = {"rule_id", "text"}
    return one.model_dump(exclude=words) == other.model_dump(exclude=words)


def _read_rules(text: str) -> list[dict[str, Any]]:
    """The rules in a model's answer; empty if it is an empty list. Raises ValueError unless it is a JSON array of
    objects, or one rule."""
    with suppress(ValueError):
        answer: dict[str, Any] = first_json(text, dict)  # not one within an array
        if "rule_id" in answer:
            return [answer]
    with suppress(ValueError):
        return first_records(text)
    items = first_json(text, list)
    if items:
        raise ValueError(f"expected a JSON array of rules, got: {text[:120]!r}")
    return []
