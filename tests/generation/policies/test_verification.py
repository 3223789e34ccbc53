"""Rules are tried on calls from the data: one that forbids all of them or none is refused, with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter

from core.policy import Policy, Rule
from core.settings import UserError
from generation.policies.verification import Verifier
from generation.policies.writer import check_policy
from generation.tools.toolset import Toolset
from tests.generation.helpers.lending_policy import POLICY, SPECS, TOOLS, library_database
from tests.generation.policies.test_problems import ARGUMENTS, IDENTITY, STATE, require

TOOLSET = Toolset(
    domain="library",
    description="A library.",
    tools=SPECS,
    engine="sql",
    statements={tool.spec.name: tool.sql for tool in TOOLS},
    database=library_database(),
)


@pytest.fixture(scope="module")
def verifier() -> Iterator[Verifier]:
    verifier = Verifier(SPECS, library_database(), TOOLS, "")
    yield verifier
    verifier.close()


def rule(raw: dict[str, Any], **changes: Any) -> Any:
    return TypeAdapter(Rule).validate_python(raw | changes)


async def test_rules_that_allow_some_calls_and_forbid_others(verifier: Verifier) -> None:
    for good in POLICY.rules:
        assert await verifier.refusal(good) == "", good.rule_id


@pytest.mark.parametrize(
    ("raw", "changes", "why"),
    [
        (STATE, require("loan_status", "is_not", "no such status"), "it forbids none of 20 calls"),
        (STATE, require("loan_id", "at_most", 0), "it forbids all of 20 calls"),
        (STATE, require("fine_amount", "at_least", 0), "it forbids none of 20 calls"),
        (STATE, {"look_up": {"tool": "get_loan", "arguments": {"loan_id": 4711}}}, "finds nothing for 20"),
        (STATE, require("due", "is", "x"), "returns no 'due'"),
        (ARGUMENTS, require("fine", "at_most", -1), "it forbids all of 20 calls"),
        (ARGUMENTS, {"when": [{"field": "loan_id", "op": "at_least", "value": 1000}]}, ""),
        (IDENTITY, {"tools": ["update_loan_fine"], "subject": "fine"}, "it forbids all of 20 calls"),
        (
            STATE,
            {"tools": ["create_loan"], "look_up": {"tool": "list_loans_by_member_id",
             "arguments": {"member_id": "${member_id}"}}, "require": [{"field": "returned_on", "op": "is"}],
             "fewer_than": 100},
            "it forbids none of 20 calls",
        ),
    ],
)  # fmt: skip
async def test_rules_that_teach_nothing(
    verifier: Verifier, raw: dict[str, Any], changes: dict[str, Any], why: str
) -> None:
    refusal = await verifier.refusal(rule(raw, **changes))
    assert why in refusal if why else refusal == ""


async def test_without_execution_no_rule_looks_at_the_state() -> None:
    verifier = Verifier(SPECS, None, (), "")
    for given in POLICY.rules:
        looks_up = given.form == "state" or getattr(given, "look_up", None) is not None
        assert bool(await verifier.refusal(given)) == looks_up, given.rule_id


def test_staff_may_not_do_everything(verifier: Verifier) -> None:
    names = [tool.spec.name for tool in TOOLS if not tool.sql.startswith("SELECT")]
    staff = {"form": "staff", "rule_id": "s", "text": "Call us.", "contact": "the desk, 555-0100"}
    assert verifier.forbids_all([rule(staff, tools=names)])
    assert not verifier.forbids_all([rule(staff, tools=names[1:])])


async def test_given_policies_are_checked_with_their_place() -> None:
    await check_policy(POLICY, TOOLSET, "mine.yaml")
    wrong = Policy(rules=(*POLICY.rules, rule(STATE, **require("loan_status", "is_not", "unheard of"))))
    with pytest.raises(UserError, match=r"mine\.yaml: the rule r of library: it forbids none"):
        await check_policy(wrong, TOOLSET, "mine.yaml")
    twice = Policy(rules=(POLICY.rules[0], POLICY.rules[0]))
    with pytest.raises(UserError, match="two rules with the same rule_id"):
        await check_policy(twice, TOOLSET, "mine.yaml")
