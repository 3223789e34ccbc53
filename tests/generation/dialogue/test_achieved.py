"""Which subgoals are achieved: by the state of a real database and the values in the answers, never by other words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from core.dialogue import Dialogue, PlannedCall, Rubric, Task
from core.messages import ToolSpec
from generation.database.sql_tools import SqlTool
from generation.dialogue.achieved import Achievements
from generation.dialogue.rollout import Rollout
from generation.environments.sql import SqlDomainEnvironment
from generation.llm.contexts import UserContext
from generation.pipeline import DomainTools
from generation.scripted.llm import ScriptedLLM
from generation.tasks.proof import prove
from tests.generation.helpers.pipeline_runs import Recorder, context_of, pipeline_of

CLUBS = """
CREATE TABLE clubs (club_id INTEGER PRIMARY KEY, name TEXT NOT NULL, city TEXT NOT NULL);
INSERT INTO clubs VALUES (1, 'Chess', 'Rome'), (2, 'Rowing', 'Oslo'), (3, 'Go', 'Oslo');
"""
INTEGER, STRING = {"type": "integer"}, {"type": "string"}


def tool(name: str, sql: str, /, **parameters: dict[str, str]) -> SqlTool:
    schema = {"type": "object", "properties": parameters, "required": list(parameters)}
    return SqlTool(spec=ToolSpec(name=name, description=name, parameters=schema), sql=sql)


TOOLS = (
    tool("get", "SELECT name, city FROM clubs WHERE club_id = :club_id", club_id=INTEGER),
    tool("move", "UPDATE clubs SET city = :city WHERE club_id = :club_id", city=STRING, club_id=INTEGER),
    tool("create", "INSERT INTO clubs (name, city) VALUES (:name, :city)", name=STRING, city=STRING),
    tool("delete", "DELETE FROM clubs WHERE club_id = :club_id", club_id=INTEGER),
)


@pytest.fixture
def clubs(tmp_path: Path) -> Iterator[SqlDomainEnvironment]:
    with closing(sqlite3.connect(tmp_path / "clubs.sqlite")) as connection:
        connection.executescript(CLUBS)
    domain_environment = SqlDomainEnvironment("clubs", tmp_path / "clubs.sqlite", TOOLS)
    yield domain_environment
    domain_environment.close()


def call(subgoal: int, tool: str, /, *tell: str, **arguments: Any) -> PlannedCall:
    return PlannedCall(tool=tool, arguments=arguments, tell=tell, subgoal=subgoal)


PLAN = (
    call(0, "get", "city", club_id=2),
    call(1, "move", club_id=1, city="Oslo"),
    call(2, "create", name="Drama", city="Rome"),
    call(2, "move", club_id="${2.club_id}", city="Bergen"),
    call(3, "delete", club_id=3),
)
TASK = Task(
    task_id="d/t0",
    goal="See where club 2 is, move club 1 to Oslo, found a drama club, move it to Bergen, and delete club 3.",
    subgoals=("see", "move", "found", "delete"),
    difficulty="hard",
    rubric=Rubric(criteria=()),
    plan=PLAN,
)
SEE, MOVE, FOUND, DELETE = range(4)
CALLS: dict[int, list[tuple[str, dict[str, Any]]]] = {
    MOVE: [("move", {"city": "Oslo", "club_id": 1})],
    FOUND: [("create", {"name": "Drama", "city": "Rome"}), ("move", {"club_id": 4, "city": "Bergen"})],
    DELETE: [("delete", {"club_id": 3})],
}


async def achieved(
    clubs: SqlDomainEnvironment, made: list[tuple[str, dict[str, Any]]], answers: tuple[str, ...] = ()
) -> tuple[set[int], set[int]]:
    """The subgoals whose changes the state has, and those whose values were told, after some calls. An earlier task has
    changed the environment."""
    environment = clubs.open()
    await environment.call("move", {"club_id": 3, "city": "Paris"})
    task = await prove(TASK, environment)
    achievements = Achievements(task, clubs, environment.snapshot())
    for name, arguments in made:
        result = await environment.call(name, arguments)
        assert not result.error
    verdict = await achievements.of(environment.state_hash(), answers)
    environment.close()
    assert verdict
    assert verdict[SEE].in_state is None, "a look-up changes nothing"
    return {i for i, v in enumerate(verdict) if v.in_state}, {i for i, v in enumerate(verdict) if v.told}


@pytest.mark.parametrize(
    "subgoals", [(), (MOVE,), (MOVE, FOUND), (MOVE, FOUND, DELETE), (FOUND, DELETE, MOVE), (DELETE,), (FOUND, DELETE)]
)
async def test_the_state_tells_which_subgoals_are_achieved_in_any_order(
    subgoals: tuple[int, ...], clubs: SqlDomainEnvironment
) -> None:
    made = [made for subgoal in subgoals for made in CALLS[subgoal]]
    in_state, told = await achieved(clubs, made)
    assert in_state == set(subgoals)
    assert told == {MOVE, FOUND, DELETE}, "nothing is to be told of changes"


@pytest.mark.parametrize(
    "made",
    [
        [("move", {"club_id": 1, "city": "Osaka"})],
        [("move", {"club_id": 2, "city": "Rome"})],
        [*CALLS[MOVE], ("create", {"name": "Chess", "city": "Oslo"})],
        [*CALLS[FOUND], *CALLS[FOUND]],
    ],
)
async def test_a_wrong_or_further_change_achieves_nothing(
    made: list[tuple[str, dict[str, Any]]], clubs: SqlDomainEnvironment
) -> None:
    assert (await achieved(clubs, made))[0] == set()


async def test_a_subgoal_is_achieved_only_after_all_its_calls_and_a_corrected_change_counts(
    clubs: SqlDomainEnvironment,
) -> None:
    assert (await achieved(clubs, [*CALLS[MOVE], CALLS[FOUND][0]]))[0] == {MOVE}
    assert (await achieved(clubs, [("move", {"club_id": 1, "city": "Osaka"}), *CALLS[MOVE]]))[0] == {MOVE}


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (("I am sorry, I could not look into it: it is in Oslo, they say.",), True),
        (("One moment.", "OSLO"), True),
        (("It is done.",), False),
        (("It is in Osloborg.",), False),
        ((), False),
    ],
)
async def test_values_count_as_told_if_any_answer_has_them(
    answers: tuple[str, ...], told: bool, clubs: SqlDomainEnvironment
) -> None:
    assert (SEE in (await achieved(clubs, [], answers))[1]) is told


async def test_gold_calls_that_do_not_hold_leave_the_verdict_open(clubs: SqlDomainEnvironment) -> None:
    environment = clubs.open()
    task = await prove(TASK, environment)
    await environment.call("delete", {"club_id": 3})
    assert await Achievements(task, clubs, environment.snapshot()).of(environment.state_hash(), ()) is None


async def test_a_resumed_task_gets_the_same_verdicts(domains: tuple[DomainTools, ...], tmp_path: Path) -> None:
    """Cut before any of its user messages, a dialogue goes on from the state at the start of its task."""
    recorder = Recorder(ScriptedLLM(error_rate=1.0))
    pipeline = pipeline_of("user_oriented_exec", domains, recorder, count={2: 1.0}, user_checks_state=True)
    try:
        for number in range(4):
            recorder.log.clear()
            start = Dialogue(dialogue_id=f"d{number}", pipeline="p", domain="x", tools=domains[0].toolset.tools)
            context = context_of(pipeline, domains[0], start.dialogue_id, seed=f"0/{number}")
            whole = await Rollout(start, context).run()
            asked = [request.context for request, _ in recorder.log if isinstance(request.context, UserContext)]
            assert all(user.achieved is not None for user in asked)
            for user in asked:
                tasks = whole.task_starts.index(user.task_start) + 1
                cut = {"messages": user.transcript, "task_starts": whole.task_starts[:tasks], "stop": "open"}
                recorder.log.clear()
                await Rollout(whole.model_copy(update=cut | {"state": None}), context).run()
                again = [request.context for request, _ in recorder.log if isinstance(request.context, UserContext)]
                assert (again[0].transcript, again[0].achieved) == (user.transcript, user.achieved)
    finally:
        pipeline.environments.close()
