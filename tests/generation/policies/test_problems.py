"""What is wrong with a rule is found before anything is executed, and right rules have no problems."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from pydantic import TypeAdapter

from core.messages import ToolSpec
from core.policy import Rule
from generation.policies.problems import rule_problems
from generation.seeds.tau2_data import DOMAINS, tool_specs
from generation.seeds.tau2_policies import tau2_policy
from tests.generation.helpers.lending_policy import POLICY, SPECS

STATE: dict[str, Any] = {
    "form": "state",
    "rule_id": "r",
    "text": "Only open loans.",
    "tools": ["update_loan_due_on"],
    "look_up": {"tool": "get_loan", "arguments": {"loan_id": "${loan_id}"}},
    "require": [{"field": "loan_status", "op": "is", "value": "on loan"}],
}
ARGUMENTS: dict[str, Any] = {
    "form": "arguments",
    "rule_id": "r",
    "text": "At most 20.",
    "tools": ["update_loan_fine"],
    "require": [{"field": "fine", "op": "at_most", "value": 20}],
}
IDENTITY: dict[str, Any] = {
    "form": "identity",
    "rule_id": "r",
    "text": "Search first.",
    "tools": ["create_loan"],
    "first": ["search_members"],
    "subject": "member_id",
}


def found(rule: dict[str, Any], specs: Iterable[ToolSpec] = SPECS, **changes: Any) -> str:
    """The problems of a rule for these tools, one after the other."""
    return "; ".join(
        rule_problems(TypeAdapter(Rule).validate_python(rule | changes), {tool.name: tool for tool in specs})
    )


def require(field: str, op: str, value: Any) -> dict[str, Any]:
    return {"require": [{"field": field, "op": op, "value": value}]}


def test_right_rules_have_no_problems() -> None:
    assert found(STATE) == found(ARGUMENTS) == found(IDENTITY) == ""
    known = [(POLICY, SPECS), *((tau2_policy(domain), tool_specs(domain)) for domain in DOMAINS.values())]
    for policy, specs in known:
        assert [found(rule.model_dump(), specs) for rule in policy.rules] == [""] * len(policy.rules)


@pytest.mark.parametrize(
    ("rule", "changes", "problem"),
    [
        (STATE, {"tools": ["update_loan_due"]}, "no tool 'update_loan_due'; did you mean 'update_loan_due_on'?"),
        (STATE, {"look_up": {"tool": "get_loans", "arguments": {}}}, "there is no tool 'get_loans'"),
        (STATE, {"look_up": {"tool": "get_loan", "arguments": {}}}, "needs 'loan_id'"),
        (STATE, {"look_up": {"tool": "get_loan", "arguments": {"loan_id": "${id}"}}}, "${id} is not an argument"),
        (STATE, {"look_up": {"tool": "get_loan", "arguments": {"loan_id": "${due_on}"}}}, "of another type"),
        (STATE, {"look_up": {"tool": "get_loan", "arguments": {"loan_id": "seven"}}}, "'seven' is not of type"),
        (STATE, {"look_up": {"tool": "get_loan", "arguments": {"loan_id": 7, "x": 1}}}, "no parameter 'x'"),
        (STATE, {"look_up": {"tool": "delete_loan", "arguments": {"loan_id": 7}}}, "changes something"),
        (STATE, require("status", "is", "on loan"), "get_loan returns no 'status'"),
        (STATE, require("loan_status", "at_most", 5), "it is not a number"),
        (STATE, require("fine_amount", "before", "${now}"), "it is not a date or time"),
        (STATE, require("due_on", "before", "next week"), "'next week' is not a date"),
        (STATE, require("due_on", "is", "${now}"), "only be compared with before and after"),
        (STATE, require("loan_status", "in", "on loan"), "a list of values is needed"),
        (STATE, require("loan_status", "in", []), "a list of values is needed"),
        (STATE, require("member_id", "is", "Ann"), "'Ann' is of another type"),
        (STATE, require("member_id", "is", "${due_on}"), "${due_on} is of another type"),
        (ARGUMENTS, require("fee", "at_most", 20), "update_loan_fine has no parameter 'fee'"),
        (ARGUMENTS, require("fine", "at_most", "much"), "'much' is not a number"),
        (ARGUMENTS, {"when": [{"field": "loan", "op": "is", "value": 5}]}, "has no parameter 'loan'"),
        (
            ARGUMENTS,
            {"tools": ["update_loan_status"], **require("status", "is", "stolen")},
            "not one of its values ['on loan', 'overdue', 'returned', 'lost']",
        ),
        (
            ARGUMENTS,
            {
                "require": [
                    {"field": "fine", "op": "at_least", "value": 20},
                    {"field": "fine", "op": "at_most", "value": 10},
                ]
            },
            "no call can satisfy",
        ),
        (
            ARGUMENTS,
            {
                "tools": ["update_loan_status"],
                **require("status", "not_in", ["on loan", "overdue", "returned", "lost"]),
            },
            "no call can satisfy",
        ),
        (ARGUMENTS, {"when": [{"field": "fine", "op": "at_least", "value": 30}]}, "no call can satisfy"),
        (IDENTITY, {"first": ["find_member"]}, "there is no tool 'find_member'"),
        (IDENTITY, {"first": ["delete_loan"]}, "changes something"),
        (IDENTITY, {"subject": "member"}, "create_loan has no parameter 'member'"),
        (IDENTITY, {"tools": ["delete_loan"], "look_up": STATE["look_up"], "subject": "x"}, "get_loan returns no 'x'"),
        ({**IDENTITY, "form": "confirm"}, {}, ""),
    ],
)
def test_wrong_rules_and_why(rule: dict[str, Any], changes: dict[str, Any], problem: str) -> None:
    if rule.get("form") == "confirm":
        rule = {key: rule[key] for key in ("form", "rule_id", "text")} | {"tools": ["get_loan"]}
        problem = "get_loan changes nothing"
    assert problem in found(rule, **changes)


def test_members_of_a_list_are_fields_of_a_nested_look_up() -> None:
    tools = tool_specs(DOMAINS["airline"])
    (rule,) = (r for r in tau2_policy(DOMAINS["airline"]).rules if r.rule_id == "flown_reservations_stay")
    raw = rule.model_dump()
    raw["look_up"]["arguments"] = {"flight_number": "${number}", "date": "${date}"}
    assert "${number} is not an argument" in found(raw, tools)
    raw["look_up"] = rule.model_dump()["look_up"]
    raw["require"] = [{"field": "value", "op": "not_in", "value": ["crashed"]}]
    assert "not one of its values" in found(raw, tools)


def referring_tools() -> list[ToolSpec]:
    """Tools whose schemas have `$ref`, `allOf` and `anyOf`, as generated models write them."""
    booking = {"type": "object", "properties": {"state": {"enum": ["open", "paid"]}, "guests": {"type": "array"}}}
    parameters = {
        "type": "object",
        "properties": {
            "booking_id": {"$ref": "#/$defs/id"},
            "nights": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/id"}]},
        },
        "required": ["booking_id"],
        "$defs": {"id": {"type": "integer"}},
    }
    returns = {
        "anyOf": [
            {"type": "object", "properties": {"error": {"type": "string"}}},
            {"allOf": [{"$ref": "#/$defs/booking"}, {"properties": {"price": {"type": "number"}}}]},
        ],
        "$defs": {"booking": booking},
    }
    return [
        ToolSpec(name="get_booking", description="", parameters=parameters, returns=returns),
        ToolSpec(name="update_booking", description="", parameters=parameters),
    ]


@pytest.mark.parametrize(
    ("field", "op", "value", "problem"),
    [
        ("state", "is", "open", ""),
        ("state", "is", "shut", "'shut' is not one of its values ['open', 'paid']"),
        ("price", "at_most", 20, ""),
        ("price", "is", "free", "'free' is of another type"),
        ("error", "is", None, ""),
        ("count of guests", "at_most", 2, ""),
        ("count of price", "at_most", 2, "returns no 'count of price'"),
        ("price", "at_most", "${nights}", ""),
        ("state", "is", "${nights}", "${nights} is of another type"),
        ("colour", "is", "red", "get_booking returns no 'colour'"),
    ],
)
def test_rules_about_tools_with_references_and_alternatives(field: str, op: str, value: Any, problem: str) -> None:
    look_up = {"tool": "get_booking", "arguments": {"booking_id": "${booking_id}"}}
    problems = found(STATE, referring_tools(), tools=["update_booking"], look_up=look_up, **require(field, op, value))
    assert problem in problems if problem else problems == ""
