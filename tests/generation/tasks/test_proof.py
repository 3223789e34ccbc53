"""Which plans become tasks, compared with hand-computed cases and real SQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dialogue import PlannedCall, Rubric, Task
from core.messages import ToolSpec
from core.placeholders import resolve_arguments
from generation.database.sql_tools import SqlTool
from generation.environments.sql import SqlDomainEnvironment, SqlEnvironment
from generation.tasks.execution import MAX_TOLD_ROWS, Premises, ProofError, Trace, execute
from generation.tasks.proof import check_order, check_trace, prove

INTEGER, STRING = {"type": "integer"}, {"type": "string"}


def test_placeholders_are_filled_from_results() -> None:
    results: dict[int, Any] = {0: [{"id": 7, "name": "A"}], 2: {"rows_affected": 1, "id": 9}}
    filled = resolve_arguments({"a": "${0.id}", "b": "${2.id}", "c": "plain ${0.id}", "d": 4, "e": "${x.id}"}, results)
    assert filled == {"a": 7, "b": 9, "c": "plain ${0.id}", "d": 4, "e": "${x.id}"}
    nested = {0: {"books": [{"author": {"id": 5}}], "a.b": 6}}
    assert resolve_arguments({"x": "${0.books.author.id}", "y": "${0.a.b}"}, nested) == {"x": 5, "y": 6}


@pytest.mark.parametrize(
    ("placeholder", "results"),
    [
        ("${0.id}", {}),
        ("${0.id}", {0: []}),
        ("${0.id}", {0: [{"id": 1}, {"id": 2}]}),
        ("${0.id}", {0: [{"name": "A"}]}),
        ("${0.id}", {0: [3]}),
        ("${0.id}", {0: None}),
        ("${0.row.id}", {0: {"row": [{"id": 1}, {"id": 2}]}}),
        ("${0.row.id}", {0: {"row": 3}}),
    ],
)
def test_placeholders_without_a_single_value_are_refused(placeholder: str, results: dict[int, Any]) -> None:
    with pytest.raises(LookupError):
        resolve_arguments({"id": placeholder}, results)


# Plans on a real database of four rows, so that each correct outcome is known.

CLUBS = """
CREATE TABLE clubs (club_id INTEGER PRIMARY KEY, name TEXT NOT NULL, city TEXT NOT NULL, members INTEGER);
INSERT INTO clubs VALUES (1, 'Chess', 'Rome', 12), (2, 'Rowing', 'Oslo', 40), (3, 'Chess', 'Oslo', 7), (4, 'Drama', 'Oslo', NULL);
"""


def _tool(name: str, sql: str, /, **parameters: dict[str, str]) -> SqlTool:
    schema = {"type": "object", "properties": parameters, "required": list(parameters)}
    return SqlTool(spec=ToolSpec(name=name, description=name, parameters=schema), sql=sql)


TOOLS = (
    _tool("search", "SELECT club_id, city, members FROM clubs WHERE name = :name ORDER BY club_id", name=STRING),
    _tool("get", "SELECT name, city, members FROM clubs WHERE club_id = :club_id", club_id=INTEGER),
    _tool("in_city", "SELECT club_id, name FROM clubs WHERE city = :city ORDER BY club_id", city=STRING),
    _tool("move", "UPDATE clubs SET city = :city WHERE club_id = :club_id", city=STRING, club_id=INTEGER),
    _tool("create", "INSERT INTO clubs (name, city) VALUES (:name, :city)", name=STRING, city=STRING),
)


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[SqlEnvironment]:
    with closing(sqlite3.connect(tmp_path / "clubs.sqlite")) as connection:
        connection.executescript(CLUBS)
    domain_environment = SqlDomainEnvironment("clubs", tmp_path / "clubs.sqlite", TOOLS)
    yield domain_environment.open()
    domain_environment.close()


def step(tool: str, /, *tell: str, **arguments: Any) -> PlannedCall:
    return PlannedCall(tool=tool, arguments=arguments, tell=tell)


async def test_a_plan_is_executed_with_real_values_on_a_fork(environment: SqlEnvironment) -> None:
    plan = [step("search", name="Rowing"), step("get", "members", club_id="${0.club_id}")]
    plan += [step("move", club_id="${0.club_id}", city="Bergen"), step("create", "club_id", name="Go", city="Bergen")]
    before = environment.state_hash()
    trace = await execute(plan, environment)
    assert [call.arguments for call in trace.calls] == [
        {"name": "Rowing"},
        {"club_id": 2},
        {"club_id": 2, "city": "Bergen"},
        {"name": "Go", "city": "Bergen"},
    ]
    assert trace.told_values == ("40", "5")
    assert len(set(trace.hashes)) == 3, "two reads change nothing, two writes do"
    assert trace.hashes[0] == trace.hashes[1] == trace.hashes[2] == before
    assert trace.mutates
    assert environment.state_hash() == before, "only the fork was changed"
    check_trace(trace, "The user wants to move the rowing club to Bergen and to found a go club there.")


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        ([step("search", name="Golf")], r"call 0 \(search\) gives \[\]"),
        ([step("move", club_id=99, city="Rome")], "rows_affected"),
        ([step("get", club_id="two")], "call 0 .get. gives .*error"),
        ([step("fly", club_id=1)], "there is no tool"),
        ([step("search", name="Chess"), step("get", club_id="${0.club_id}")], "needs one row, call 0 returned 2"),
        ([step("get", club_id="${0.club_id}")], r"call 0 \(get\)"),
        ([step("get", "members", club_id=4)], "returns no 'members' to tell"),
        ([step("get", "colour", club_id=1)], "returns no 'colour' to tell"),
    ],
)
async def test_plans_that_fail_find_nothing_or_are_ambiguous_are_refused(
    environment: SqlEnvironment, plan: list[PlannedCall], why: str
) -> None:
    with pytest.raises(ProofError, match=why):
        await execute(plan, environment)


GO_CLUB = "The user wants to add a new club with name Go and city Bergen"


@pytest.mark.parametrize(
    ("goal", "asked"),
    [
        (f"{GO_CLUB}.", False),
        (f"{GO_CLUB}, and get the new club id.", True),
        (f"{GO_CLUB} and learn its number.", True),
        (f"{GO_CLUB} and be told the ID assigned to it.", True),
        (f"{GO_CLUB}; they need the reference of the new club.", True),
        (f"{GO_CLUB} and get a confirmation number.", True),
        (f"{GO_CLUB} next to club id 3.", False),
        (f"{GO_CLUB} and know the number of members of the Chess club.", False),
        (f"{GO_CLUB} for member number M7.", False),
    ],
)
async def test_a_new_rows_key_is_told_only_if_the_goal_asks_for_it(
    environment: SqlEnvironment, goal: str, asked: bool
) -> None:
    plan = (step("create", "club_id", "rows_affected", name="Go", city="Bergen"),)
    rubric = Rubric(criteria=())
    task = Task(task_id="t", goal=goal, subgoals=("add it",), difficulty="easy", rubric=rubric, plan=plan)
    proved = await prove(task, environment)
    assert proved.told_values == (("5",) if asked else ())
    assert proved.plan[0].tell == proved.gold_calls[0].tell == (("club_id",) if asked else ())


async def test_flags_need_not_be_told(tmp_path: Path) -> None:
    """An agent says "yes, it is open", not 1. A count of 1 is told."""
    path = tmp_path / "halls.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE halls (hall_id INTEGER PRIMARY KEY, is_open INTEGER, heated INTEGER, stages INTEGER);"
            "INSERT INTO halls VALUES (7, 1, 0, 1);"
        )
    get = _tool("get", "SELECT is_open, heated, stages FROM halls WHERE hall_id = :hall_id", hall_id=INTEGER)
    halls = SqlDomainEnvironment("halls", path, (get,)).open()
    plan = [step("get", "is_open", "heated", "stages", hall_id=7)]
    assert (await execute(plan, halls, premises=Premises(flags=frozenset({"heated"})))).told_values == ("1",)
    assert (await execute(plan, halls)).told_values == ("0", "1")
    trace = await execute([step("get", "is_open", hall_id=7)], halls)
    with pytest.raises(ProofError, match="but yes and no: there is nothing to check"):
        check_trace(trace, "Is hall 7 open?")


async def test_at_most_three_rows_can_be_reported(environment: SqlEnvironment) -> None:
    trace = await execute([step("in_city", "name", city="Oslo")], environment)
    assert trace.told_values == ("Rowing", "Chess", "Drama")
    assert len(trace.told_values) == MAX_TOLD_ROWS
    await environment.call("create", {"name": "Go", "city": "Oslo"})
    with pytest.raises(ProofError, match="4 rows; at most 3"):
        await execute([step("in_city", "name", city="Oslo")], environment)
    assert (await execute([step("in_city", city="Oslo")], environment)).told_values == ()


@pytest.mark.parametrize(
    ("plan", "goal", "why"),
    [
        ([step("get", club_id=1)], "Look at club 1.", "nothing to check"),
        ([step("move", club_id=1, city="Rome")], "Club 1 shall be in Rome.", "nothing to check"),
        (
            [step("move", club_id=1, city="Oslo"), step("move", club_id=1, city="Rome")],
            "There and back.",
            "nothing to check",
        ),
        ([step("get", "city", club_id=1)], "Is club 1 really in Rome?", "is already in the goal"),
        (
            [step("get", "members", club_id=1), step("search", "members", name="Rowing"), step("get", club_id=2)],
            "How many members have clubs?",
            "solved after 2 of its 3 calls",
        ),
        (
            [step("move", club_id=1, city="Oslo"), step("get", club_id=1)],
            "Move club 1 to Oslo.",
            "solved after 1 of its 2 calls",
        ),
        (
            [step("move", club_id=1, city="Oslo"), step("get", "city", club_id=1)],
            "Move club 1 to Oslo and tell where it is.",
            "solved after 1 of its 2 calls",
        ),
        (
            [step("move", club_id=1, city="Oslo"), step("move", club_id=1, city="Oslo")],
            "Move club 1 to Oslo twice.",
            "solved after 1 of its 2 calls",
        ),
    ],
)
async def test_uncheckable_tasks_are_refused(
    environment: SqlEnvironment, plan: list[PlannedCall], goal: str, why: str
) -> None:
    trace = await execute(plan, environment)
    with pytest.raises(ProofError, match=why):
        check_trace(trace, goal)


@pytest.mark.parametrize(
    ("plan", "goal"),
    [
        ([step("get", "members", club_id=1)], "How many members has club 1?"),
        ([step("move", club_id=1, city="Oslo")], "Move club 1 to Oslo."),
        ([step("get", "city", club_id=1), step("move", club_id=1, city="Oslo")], "Move club 1 from Rome to Oslo."),
        ([step("get", "members", club_id=1), step("get", "members", club_id=2)], "How large are clubs 1 and 2?"),
    ],
)
async def test_checkable_tasks_are_accepted(environment: SqlEnvironment, plan: list[PlannedCall], goal: str) -> None:
    check_trace(await execute(plan, environment), goal)


@pytest.mark.parametrize(
    ("plan", "depends"),
    [
        ([step("get", "city", club_id=2), step("move", club_id=2, city="Rome")], False),
        ([step("move", club_id=2, city="Rome"), step("get", "members", club_id=2)], False),
        ([step("move", club_id=2, city="Rome"), step("get", "city", club_id=2)], True),
        ([step("move", club_id=2, city="Bonn"), step("in_city", "name", city="Bonn")], True),
        ([step("create", city="Bonn", name="Go"), step("get", "name", club_id="${0.club_id}")], False),
        (
            [
                step("search", name="Rowing"),
                step("move", club_id="${0.club_id}", city="Rome"),
                step("get", "city", club_id="${0.club_id}"),
            ],
            True,
        ),
    ],
)
async def test_what_is_told_must_not_depend_on_the_order_of_calls(
    environment: SqlEnvironment, plan: list[PlannedCall], depends: bool
) -> None:
    """Agents may make independent calls at once."""
    trace = await execute(plan, environment)
    if depends:
        with pytest.raises(ProofError, match=rf"what call {len(plan) - 1} .* depends on whether it is made before"):
            await check_order(plan, trace, environment)
    else:
        await check_order(plan, trace, environment)


STATES = st.lists(st.integers(0, 2), min_size=2, max_size=5)


@given(states=STATES, values=st.sets(st.integers(1, 5), max_size=3), data=st.data())
def test_a_task_is_accepted_exactly_if_no_shorter_prefix_solves_it(
    states: list[int], values: set[int], data: st.DataObject
) -> None:
    """Compared with the definition: after each prefix of the calls, is the state the final one, and every value
    seen?"""
    calls = len(states) - 1
    seen_in = [data.draw(st.sets(st.integers(1, 5), max_size=2)) for _ in range(calls)]
    goal = data.draw(st.sets(st.integers(1, 5), max_size=2))
    trace = Trace(
        calls=tuple(step("x") for _ in range(calls)),
        hashes=tuple(map(str, states)),
        results=tuple(" ".join(map(str, seen)) for seen in seen_in),
        told=(tuple(map(str, values)), *((),) * (calls - 1)),
        broken=((),) * calls,
    )

    def solved(done: int) -> bool:
        return states[done] == states[-1] and values <= goal.union(*seen_in[:done])

    changes = states[0] != states[-1]
    is_valid = (changes or bool(values)) and not any(solved(done) for done in range(calls))
    if is_valid:
        check_trace(trace, " ".join(map(str, goal)))
    else:
        with pytest.raises(ProofError):
            check_trace(trace, " ".join(map(str, goal)))
