"""Broken rules are found, and only those: against a naive reference on plain SQLite, and in transcripts."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, ToolSpec, UserMessage
from core.policy import ArgumentRule, Comparison, Policy, StaffRule
from generation.environments.base import Environment
from generation.policies.violations import Violation, broken_rules, violations
from tests.generation.helpers.lending_policy import NOW, POLICY, library, library_database

Call = tuple[str, dict[str, Any]]

loans, members = st.integers(1, 155), st.integers(1, 47)
days = st.sampled_from(["2025-05-31", "2025-06-01", "2025-06-02", "2025-06-29", "2025-06-30", "2026-01-01"])
fines = st.sampled_from([-1, 0, 19.99, 20, 20.0, 20.01, 300])
statuses = st.sampled_from(["on loan", "overdue", "returned", "lost"])
any_call = st.one_of(
    st.tuples(st.just("update_loan_due_on"), st.fixed_dictionaries({"loan_id": loans, "due_on": days})),
    st.tuples(st.just("update_loan_fine"), st.fixed_dictionaries({"loan_id": loans, "fine": fines})),
    st.tuples(st.just("update_loan_status"), st.fixed_dictionaries({"loan_id": loans, "status": statuses})),
    st.tuples(st.just("delete_loan"), st.fixed_dictionaries({"loan_id": loans})),
    st.tuples(st.just("get_loan"), st.fixed_dictionaries({"loan_id": loans})),
    st.tuples(
        st.just("create_loan"),
        st.fixed_dictionaries({"loan_id": st.just(900), "book_id": st.just(1), "member_id": members, "due_on": days}),
    ),
)


def naive(name: str, arguments: dict[str, Any], known: Sequence[int], agreed: bool) -> set[str]:
    """The broken rules by hand-written conditions on plain SQLite, in the initial state. `known` are the members that
    were found."""
    with closing(sqlite3.connect(library_database())) as connection:
        query = "SELECT loan_status, member_id FROM loans WHERE loan_id = ?"
        status, borrower = connection.execute(query, (arguments.get("loan_id"),)).fetchone() or (None, None)
        query = "SELECT COUNT(*) FROM loans WHERE member_id = ? AND returned_on IS NULL"
        (unreturned,) = connection.execute(query, (arguments.get("member_id"),)).fetchone()
    broken = set()
    if "due_on" in arguments and not "2025-06-02" <= arguments["due_on"] <= "2025-06-29":
        broken.add("four_weeks")
    if name == "update_loan_due_on" and status in ("returned", "lost"):
        broken.add("open_loans_only")
    if name == "update_loan_due_on" and status is not None and borrower not in known:
        broken.add("known_borrower")
    if name == "update_loan_fine" and arguments["fine"] > 20:
        broken.add("fine_limit")
    if name == "create_loan" and unreturned >= 3:
        broken.add("three_loans")
    if name == "create_loan" and arguments["member_id"] not in known:
        broken.add("known_member")
    if name == "delete_loan" and not agreed:
        broken.add("confirm_delete")
    if arguments.get("status") == "lost":
        broken.add("lost_books")
    return broken


def tool_use(number: int, name: str, arguments: dict[str, Any], result: str) -> list[Message]:
    call = ToolCall.make(f"call_{number}", name, arguments)
    return [AssistantMessage(tool_calls=(call,)), ToolMessage(tool_call_id=call.id, content=result)]


def name_of(member: int) -> str | None:
    with closing(sqlite3.connect(library_database())) as connection:
        row = connection.execute("SELECT member_name FROM members WHERE member_id = ?", (member,)).fetchone()
    return str(row[0]) if row else None


async def talk(calls: Sequence[Call], agreed: bool) -> list[Message]:
    """A dialogue in which the user wishes, is asked, answers, and the assistant then makes these calls."""
    answer = "Yes, please." if agreed else "Wait, which one is that?"
    messages: list[Message] = [
        SystemMessage(content="You are the assistant of a library."),
        UserMessage(content="Hello, I would like to change something."),
        AssistantMessage(content="Shall I do it?"),
        UserMessage(content=answer),
    ]
    environment = library().open()
    for name, arguments in calls:
        result = await environment.call(name, arguments)
        messages += tool_use(len(messages), name, arguments, result.content)
    environment.close()
    return [*messages, AssistantMessage(content="Done.")]


async def found_in(messages: Sequence[Message], start: int = 0) -> list[Violation]:
    environment = library().open()
    try:
        return await violations(POLICY, messages, environment, NOW, start)
    finally:
        environment.close()


@given(call=any_call, known=st.lists(members, max_size=3), agreed=st.booleans())
def test_one_call_breaks_the_rules_that_a_naive_reference_says(call: Call, known: list[int], agreed: bool) -> None:
    names = {member: name_of(member) for member in known}
    searches = [("search_members", {"member_name": name or "No One"}) for name in names.values()]
    found_members = [member for member, name in names.items() if name]
    messages = asyncio.run(talk([*searches, call], agreed))
    found = asyncio.run(found_in(messages))
    assert {violation.rule_id for violation in found} == naive(*call, found_members, agreed)
    assert {violation.position for violation in found} <= {4 + 2 * len(searches)}
    assert {violation.tool for violation in found} <= {call[0]}


@given(call=any_call)
def test_a_plan_is_checked_without_what_only_a_dialogue_shows(call: Call) -> None:
    environment = library().open()
    before = environment.state_hash()
    rules = asyncio.run(broken_rules(POLICY, *call, environment, None, NOW))
    said = {rule.rule_id for rule in rules}
    assert said == naive(*call, known=range(100), agreed=True)
    strict = asyncio.run(broken_rules(POLICY, *call, environment, None, NOW, earlier=()))
    assert {rule.rule_id for rule in strict} == naive(*call, known=(), agreed=True)
    assert environment.state_hash() == before
    environment.close()


def rows(query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(library_database())) as connection:
        return connection.execute(query).fetchall()


def test_rules_look_at_the_state_before_each_call() -> None:
    ((loan, member),) = rows("SELECT loan_id, member_id FROM loans WHERE loan_status = 'on loan' LIMIT 1")
    extend = ("update_loan_due_on", {"loan_id": loan, "due_on": "2025-06-20"})
    hand_back = ("update_loan_status", {"loan_id": loan, "status": "returned"})
    known = ("search_members", {"member_name": name_of(member)})
    assert asyncio.run(found_in(asyncio.run(talk([known, extend, hand_back], True)))) == []
    found = asyncio.run(found_in(asyncio.run(talk([known, hand_back, extend], True))))
    assert [(v.position, v.rule_id) for v in found] == [(8, "open_loans_only")]


def test_the_fourth_open_loan_of_a_member_is_one_too_many() -> None:
    ((member,),) = rows(
        "SELECT m.member_id FROM members m LEFT JOIN loans l ON l.member_id = m.member_id AND l.returned_on IS NULL "
        "GROUP BY m.member_id HAVING COUNT(l.loan_id) = 1 LIMIT 1"
    )
    lend = {"book_id": 1, "member_id": member, "due_on": "2025-06-20"}
    loans_made = [("create_loan", {"loan_id": 900 + number, **lend}) for number in range(3)]
    messages = asyncio.run(talk([("search_members", {"member_name": name_of(member)}), *loans_made], True))
    assert [v.rule_id for v in asyncio.run(found_in(messages))] == ["three_loans"]


def test_calls_of_one_message_are_judged_by_what_was_known_before_it() -> None:
    ((loan, member),) = rows("SELECT loan_id, member_id FROM loans WHERE loan_status = 'on loan' LIMIT 1")
    search = ToolCall.make("a", "search_members", {"member_name": name_of(member)})
    extend = ToolCall.make("b", "update_loan_due_on", {"loan_id": loan, "due_on": "2025-06-20"})
    messages: list[Message] = [
        UserMessage(content="Extend my loan."),
        AssistantMessage(tool_calls=(search, extend)),
        ToolMessage(tool_call_id="a", content=f'[{{"member_id": {member}}}]'),
    ]
    environment = library().open()
    during = asyncio.run(broken_rules(POLICY, extend.name, extend.parsed(), environment, messages, NOW))
    environment.close()
    assert [rule.rule_id for rule in during] == ["known_borrower"]
    messages.append(ToolMessage(tool_call_id="b", content='{"rows_affected": 1}'))
    assert [(v.call_id, v.rule_id) for v in asyncio.run(found_in(messages))] == [("b", "known_borrower")]


def test_an_error_that_repeats_a_name_identifies_no_one() -> None:
    messages = [UserMessage(content="Lend me a book."), *tool_use(1, "search_members", {"member_name": "x"},
                '{"error": 5}')]  # fmt: skip
    environment = library().open()
    call = {"loan_id": 900, "book_id": 1, "member_id": 5, "due_on": "2025-06-20"}
    broken = asyncio.run(broken_rules(POLICY, "create_loan", call, environment, messages, NOW))
    environment.close()
    assert "known_member" in {rule.rule_id for rule in broken}


def test_only_the_chosen_part_is_checked_with_what_was_said_before_it() -> None:
    ((loan, member),) = rows("SELECT loan_id, member_id FROM loans WHERE loan_status = 'on loan' LIMIT 1")
    known = ("search_members", {"member_name": name_of(member)})
    extend = ("update_loan_due_on", {"loan_id": loan, "due_on": "2026-06-20"})
    messages = asyncio.run(talk([known, extend, extend], True))
    assert len(asyncio.run(found_in(messages))) == 2
    assert [v.position for v in asyncio.run(found_in(messages, start=8))] == [8]


def test_calls_without_readable_arguments_break_nothing() -> None:
    call = ToolCall.model_validate({"id": "a", "function": {"name": "delete_loan", "arguments": "{"}})
    messages = [UserMessage(content="Delete it."), AssistantMessage(tool_calls=(call,))]
    assert asyncio.run(found_in(messages)) == []


class _Refusing:
    """An environment whose own calls all fail; its forks are the library's."""

    executable = True

    def __init__(self, inner: Environment) -> None:
        self.fork, self.tools = inner.fork, inner.tools


def test_look_ups_meet_no_injected_faults() -> None:
    ((loan,),) = rows("SELECT loan_id FROM loans WHERE loan_status = 'returned' LIMIT 1")
    inner = library().open()
    arguments = {"loan_id": loan, "due_on": "2025-06-20"}
    refusing = cast(Environment, _Refusing(inner))
    broken = asyncio.run(broken_rules(POLICY, "update_loan_due_on", arguments, refusing, None, NOW))
    inner.close()
    assert [rule.rule_id for rule in broken] == ["open_loans_only"]


@pytest.mark.parametrize(("days", "limit_is_broken"), [({}, True), ({"days": 3}, False), ({"days": 60}, True)])
def test_arguments_that_are_left_out_have_their_defaults(days: dict[str, int], limit_is_broken: bool) -> None:
    schema = {
        "type": "object",
        "properties": {"loan_id": {"type": "integer"}, "days": {"type": "integer", "default": 30}},
    }
    extend = ToolSpec(name="extend_loan", description="Extends a loan.", parameters=schema)
    simulated = cast(Environment, SimpleNamespace(tools=(extend,), executable=False))
    long = (Comparison(field="days", op="at_least", value=15),)
    limit = ArgumentRule(
        rule_id="two_weeks",
        text="At most two weeks.",
        tools=("extend_loan",),
        require=(Comparison(field="days", op="at_most", value=14),),
    )
    asked = StaffRule(rule_id="long_ones", text="Staff only.", tools=("extend_loan",), when=long, contact="555-0142")
    policy = Policy(rules=(limit, asked))
    broken = asyncio.run(broken_rules(policy, "extend_loan", {"loan_id": 1, **days}, simulated, None, NOW))
    assert [rule.rule_id for rule in broken] == ["two_weeks", "long_ones"] * limit_is_broken


@pytest.mark.parametrize("now", ["", "some day in June"])
def test_an_unknown_time_forbids_nothing(now: str) -> None:
    environment = library().open()
    arguments = {"loan_id": 900, "book_id": 1, "member_id": 46, "due_on": "2099-01-01"}
    assert asyncio.run(broken_rules(POLICY, "create_loan", arguments, environment, None, now)) == ()
    environment.close()


class _Simulated(_Refusing):
    """Calls are not executed: no look-up means anything."""

    executable = False


def test_where_nothing_is_executed_only_arguments_and_results_decide() -> None:
    inner = library().open()
    simulated = cast(Environment, _Simulated(inner))

    def broken(name: str, **arguments: Any) -> list[str]:
        rules = asyncio.run(broken_rules(POLICY, name, arguments, simulated, None, NOW, earlier=()))
        return [rule.rule_id for rule in rules]

    ((loan,),) = rows("SELECT loan_id FROM loans WHERE loan_status = 'returned' LIMIT 1")
    assert broken("update_loan_due_on", loan_id=loan, due_on="2025-06-20") == []
    assert broken("create_loan", loan_id=900, book_id=1, member_id=46, due_on="2025-06-30") == [
        "four_weeks",
        "known_member",
    ]
    inner.close()
