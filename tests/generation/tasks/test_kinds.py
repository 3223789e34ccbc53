"""What the proof of each kind of request accepts and refuses, on a real database of a few rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from core.dialogue import Evidence, PlannedCall, Task
from core.policy import Policy
from generation.environments.sql import SqlDomainEnvironment, SqlEnvironment
from generation.tasks.execution import Premises, ProofError
from generation.tasks.kinds import form_problem, is_possible
from generation.tasks.proof import prove
from tests.generation.helpers.halls import HALLS, POLICY, TOOLS
from tests.generation.helpers.pipeline_runs import task_of

PREMISES = Premises(policy=POLICY)


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[SqlEnvironment]:
    path = tmp_path / "halls.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(HALLS)
    domain = SqlDomainEnvironment("halls", path, TOOLS)
    environment = domain.open()
    yield environment
    environment.close()
    domain.close()


def step(tool: str, *tell: str, **arguments: Any) -> PlannedCall:
    return PlannedCall(tool=tool, arguments=arguments, tell=tell)


ANN, BOB = step("find_owner", name="Ann"), step("find_owner", name="Bob")
OF_ANN, OF_BOB = step("list_halls", owner_id="${0.owner_id}"), step("list_halls", owner_id="${1.owner_id}")
SEATS = step("update_seats", hall_id=1, seats=90)


def request(kind: str, *plan: PlannedCall, goal: str = "", **more: Any) -> Task:
    goal = goal or f"The user wants what {kind} says: 90, Oslo, 100."
    return task_of(goal, ("what",), kind=kind, plan=plan, **more)


async def proved(task: Task, environment: SqlEnvironment) -> Task:
    before = environment.state_hash()
    task = await prove(task, environment, PREMISES)
    assert environment.state_hash() == before, "a proof leaves no trace"
    return task


async def refusal(task: Task, environment: SqlEnvironment) -> str:
    with pytest.raises(ProofError) as refused:
        await proved(task, environment)
    return str(refused.value)


async def test_evidence_is_what_one_decision_rests_on(environment: SqlEnvironment) -> None:
    cheapest = step("update_seats", hall_id="${lowest price of 1: hall_id}", seats=90)
    task = await proved(request("evidence", ANN, OF_ANN, cheapest), environment)
    assert task.gold_calls[-1].arguments == {"hall_id": 2, "seats": 90}
    assert task.evidence == Evidence(lookups=2, rows=4), "one owner, three halls"
    tie = step("update_seats", hall_id="${lowest price of 2,3: hall_id}", seats=90)
    of_ann = step("list_halls", owner_id="${0.owner_id}")
    problem = await refusal(request("evidence", ANN, BOB, of_ann, OF_BOB, tie), environment)
    assert "2 rows fit" in problem
    only_two = step("update_seats", hall_id="${lowest seats of 1: hall_id}", seats=90)
    two = [step("find_owner", name="Bob"), step("list_halls", owner_id="${0.owner_id}"), only_two]
    assert "at least 3 rows" in await refusal(request("evidence", *two), environment)
    assert "at least 3 rows" in await refusal(request("evidence", SEATS), environment)


async def test_computed_answers_are_told_and_stand_in_no_result(environment: SqlEnvironment) -> None:
    total = step("list_halls", "${sum of 1: seats}", owner_id="${0.owner_id}")
    task = await proved(request("computed", ANN, total), environment)
    assert task.told_values == ("260",)
    assert task.evidence.rows == 4
    highest = step("list_halls", "${average of 1: price}", owner_id="${0.owner_id}")
    assert (await proved(request("computed", ANN, highest), environment)).told_values == ("550.0",)
    chosen = step("list_halls", "${highest seats of 1: city}", owner_id="${0.owner_id}")
    for plan in ((ANN, chosen), (ANN, step("get_hall", "${sum of 1: seats}", hall_id=1))):
        assert "must be computed" in await refusal(request("computed", *plan), environment), (
            "chosen, or one row's value"
        )
    three = step("list_halls", "${count of 0}", owner_id=1)
    assert "stands in a result already" in await refusal(request("computed", three), environment), "as an id"
    assert "must be computed" in await refusal(
        request("computed", ANN, step("get_hall", "seats", hall_id=1)), environment
    )


async def test_a_long_result_has_more_than_fifty_rows(environment: SqlEnvironment) -> None:
    short = step("list_halls", "${highest seats of 1: city}", owner_id="${0.owner_id}")
    assert "more than 50 rows" in await refusal(request("long_result", ANN, short), environment)
    for rows, name in ((50, "Fifty"), (51, "Fifty-one")):
        plan = step("find_owner", name=name), step("list_halls", "${highest seats of 1: hall_id}", owner_id=rows)
        task = request("long_result", *plan, goal=f"Which hall of {name} has the most seats?")
        if rows > 50:
            assert (await proved(task, environment)).told_values == ("5151",)
        else:
            assert "more than 50 rows" in await refusal(task, environment)


async def test_what_is_withheld_is_needed_and_known_to_the_user(environment: SqlEnvironment) -> None:
    task = await proved(request("incomplete", SEATS, withheld=("90",)), environment)
    assert [call.arguments for call in task.gold_calls] == [{"hall_id": 1, "seats": 90}]
    assert "no value is withheld" in await refusal(request("incomplete", SEATS), environment)
    assert "not an argument of the plan" in await refusal(request("incomplete", SEATS, withheld=("91",)), environment)
    unsaid = request("incomplete", SEATS, goal="Change the seats.", withheld=("90",))
    assert "does not stand in the goal" in await refusal(unsaid, environment)


async def test_an_ambiguous_wish_fits_several_rows(environment: SqlEnvironment) -> None:
    in_oslo = step("update_seats", hall_id="${where city is Oslo of 1: hall_id}", seats=90)
    task = await proved(request("ambiguous", ANN, OF_ANN, in_oslo, withheld=("Oslo",)), environment)
    assert task.gold_calls[-1].arguments["hall_id"] == 1
    assert "several rows" in await refusal(request("ambiguous", ANN, OF_ANN, in_oslo, withheld=("90",)), environment)
    one = step("update_seats", hall_id="${where city is Oslo of 0: hall_id}", seats=90)
    single = request("ambiguous", step("get_hall", hall_id=1), one, withheld=("Oslo",))
    assert "several rows" in await refusal(single, environment)


async def test_the_first_wish_may_have_been_granted(environment: SqlEnvironment) -> None:
    first = {"first_wish": "The user wants 70 seats.", "first_arguments": {"seats": 70}}
    assert (await proved(request("changed", SEATS, **first), environment)).mutates
    assert "another value" in await refusal(request("changed", SEATS), environment)
    same = {"first_wish": "The user wants 90 seats.", "first_arguments": {"seats": 90}}
    assert "another value" in await refusal(request("changed", SEATS, **same), environment)
    unsaid = {"first_wish": "The user wants more.", "first_arguments": {"seats": 70}}
    assert "does not say 70" in await refusal(request("changed", SEATS, **unsaid), environment)
    look_up = step("get_hall", "seats", hall_id=1)
    first_hall = {"first_wish": "Look up hall 2.", "first_arguments": {"hall_id": 2}}
    assert "changes nothing" in await refusal(request("changed", look_up, **first_hall), environment)
    other_hall = {"first_wish": "Change hall 2.", "first_arguments": {"hall_id": 2}}
    assert "another state" in await refusal(request("changed", SEATS, **other_hall), environment)
    forbidden = {"first_wish": "The user wants 500 seats.", "first_arguments": {"seats": 500}}
    assert "most_seats" in await refusal(request("changed", SEATS, **forbidden), environment)


async def test_nothing_happens_where_it_must_not(environment: SqlEnvironment) -> None:
    withdrawn = await proved(request("withdrawn", SEATS, withheld=("90",)), environment)
    no_tool = await proved(request("no_tool", SEATS, late_tools=("update_seats",)), environment)
    for task in (withdrawn, no_tool):
        assert (task.gold_calls, task.told_values, task.mutates) == ((), (), False)
        assert task.is_proved
        assert task.expected_plan == ()
    look_up = step("get_hall", "seats", hall_id=1)
    assert "changes nothing" in await refusal(
        request("withdrawn", look_up, goal="Hall 1.", withheld=("1",)), environment
    )
    assert "is offered" in await refusal(request("no_tool", SEATS, late_tools=("delete_hall",)), environment)
    late = await proved(request("late_tool", SEATS, late_tools=("update_seats",)), environment)
    assert late.gold_calls == (SEATS,)
    assert "offered late" in await refusal(request("late_tool", SEATS, late_tools=("delete_hall",)), environment)


async def test_a_record_that_is_not_found_does_not_exist(environment: SqlEnvironment) -> None:
    seats = step("list_halls", "seats", owner_id="${0.owner_id}")
    task = await proved(request("not_found", step("find_owner", name="Zoe"), seats), environment)
    assert task.expected_plan == task.plan[:1]
    assert "finds something" in await refusal(request("not_found", ANN, seats), environment)
    assert "must look up" in await refusal(request("not_found"), environment)


async def test_irrelevant_requests_have_no_plan(environment: SqlEnvironment) -> None:
    assert (await proved(request("irrelevant"), environment)).is_proved
    assert "has no plan" in await refusal(request("irrelevant", SEATS), environment)


@pytest.mark.parametrize(
    ("task", "problem"),
    [
        (request("incomplete", SEATS), "no value is withheld"),
        (request("withdrawn", SEATS, withheld=("91",)), "not an argument of the plan"),
        (request("changed", SEATS), "another value"),
        (request("late_tool", SEATS), "no tool is kept back"),
        (request("no_tool", SEATS), "no tool is kept back"),
        (request("irrelevant", SEATS), "has no plan"),
        (request("incomplete", SEATS, withheld=("90",)), ""),
        (request("plain", SEATS), ""),
    ],
)
def test_the_form_of_a_request_is_checked_where_nothing_is_executed(task: Task, problem: str) -> None:
    assert problem in form_problem(task)
    assert bool(problem) is bool(form_problem(task))


async def test_the_policy_forbids_exactly_the_last_call(environment: SqlEnvironment) -> None:
    closed = (step("get_hall", hall_id=3), step("update_seats", hall_id="${0.hall_id}", seats=90))
    task = await proved(request("forbidden", *closed, rule_id="only_open"), environment)
    assert task.gold_calls == (step("get_hall", hall_id=3),)
    assert task.told_values == ("closed",), "the reason, which the look-up shows"
    asked = (step("get_hall", "price", hall_id=3), step("update_seats", hall_id="${0.hall_id}", seats=90))
    wanted = await proved(request("forbidden", *asked, rule_id="only_open"), environment)
    assert wanted.told_values == ("700.0", "closed"), "what the look-up was to tell, then the reason"
    known = request("forbidden", *closed, goal="Hall 3 is closed, but give it 90 seats.", rule_id="only_open")
    assert (await proved(known, environment)).told_values == (), "the user says it"
    unseen = request("forbidden", step("update_seats", hall_id=3, seats=90), rule_id="only_open")
    assert (await proved(unseen, environment)).told_values == (), "no look-up shows it"
    large = request("forbidden", step("update_seats", hall_id=1, seats=500), goal="500 seats.", rule_id="most_seats")
    assert (await proved(large, environment)).told_values == ("400",), "the limit, which the policy says"
    staff = await proved(request("forbidden", step("delete_hall", hall_id=1), rule_id="staff_deletes"), environment)
    assert staff.told_values == ("555-0142",)
    assert "breaks no rule; it must break only_open and no other" in await refusal(
        request("forbidden", SEATS, rule_id="only_open"), environment
    )
    wrong = request("forbidden", *closed, rule_id="most_seats")
    assert "breaks only_open; it must break most_seats" in await refusal(wrong, environment)
    both = request(
        "forbidden", closed[0], step("update_seats", hall_id=3, seats=500), goal="500 seats.", rule_id="only_open"
    )
    assert "breaks only_open, most_seats" in await refusal(both, environment)
    early = request("forbidden", SEATS, *closed, rule_id="only_open")
    assert "changes something already" in await refusal(
        early.model_copy(update={"plan": (SEATS, closed[0], step("update_seats", hall_id=3, seats=90))}), environment
    )


async def test_plans_keep_the_policy(environment: SqlEnvironment) -> None:
    """But for consent, which no plan can show."""
    assert (await proved(request("plain", SEATS), environment)).mutates
    closed = request("plain", step("update_seats", hall_id=3, seats=90))
    assert "the policy forbids call 0 (update_seats): rule only_open" in await refusal(closed, environment)


@pytest.mark.parametrize(
    ("kind", "executable", "policy", "is_first", "possible"),
    [
        ("plain", False, None, False, True),
        ("incomplete", False, None, False, True),
        ("evidence", False, None, True, False),
        ("evidence", True, None, False, True),
        ("late_tool", True, None, False, False),
        ("no_tool", True, None, True, True),
        ("forbidden", True, None, True, False),
        ("forbidden", True, POLICY, True, True),
        ("forbidden", False, POLICY, True, False),
        ("forbidden", True, Policy(rules=POLICY.rules[3:]), True, False),
    ],
)
def test_a_kind_is_drawn_only_where_it_is_possible(
    kind: Any, executable: bool, policy: Policy | None, is_first: bool, possible: bool
) -> None:
    assert is_possible(kind, executable, policy, is_first) is possible
