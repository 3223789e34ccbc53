"""The task writer: which drafts become tasks, and the complaints that a model gets about the others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from core.schemas import schema_error
from generation.environments.base import Environment
from generation.environments.simulated.environment import SimulatedEnvironmentFactory
from generation.environments.sql import SqlEnvironmentFactory
from generation.llm.base import UnusableAnswerError
from generation.llm.meter import Meter
from generation.pipeline import DomainTools
from generation.scripted.llm import ScriptedLLM
from generation.tasks.writer import TaskWriter
from tests.generation.helpers.pipeline_runs import SCENE, FinishedRun, ListedAnswers, task_settings


@pytest.fixture
def gym(domains: tuple[DomainTools, ...]) -> DomainTools:
    return next(each for each in domains if each.domain.name == "gym")


@pytest.fixture
def environment(gym: DomainTools) -> Iterator[Environment]:
    environments = SqlEnvironmentFactory()
    yield environments.for_domain(gym.toolset, Meter(ScriptedLLM()), "x").open()
    environments.close()


@pytest.fixture
def draft(executed: FinishedRun) -> dict[str, Any]:
    """A provable draft about the gym: an accepted dialogue's first task, which starts with a look-up."""
    tasks = [dialogue.tasks[0] for dialogue in executed.accepted if dialogue.domain == "gym"]
    reads = ("search_", "get_", "list_", "top_", "count_")
    task = next(t for t in tasks if len(t.plan) > 1 and t.told_values and t.plan[0].tool.startswith(reads))
    plan = [call.model_dump() | {"arguments": call.arguments} for call in task.plan]
    return {"goal": task.goal, "subgoals": task.subgoals, "plan": plan, "criteria": ["It is done."]}


def writer(
    llm: ListedAnswers, gym: DomainTools, attempts: int, excluded_goals: frozenset[str] = frozenset(), **changes: Any
) -> TaskWriter:
    """Requests hard tasks, like the draft, unless `changes` say otherwise."""
    settings = task_settings("user_oriented_exec", **{"attempts": attempts, "difficulties": {"hard": 1.0}} | changes)
    return TaskWriter(Meter(llm), replace(gym.domain, excluded_goals=excluded_goals), settings, "d1", "0/d1", SCENE.now)


async def test_a_provable_draft_becomes_a_task_with_its_proof(
    gym: DomainTools, environment: Environment, draft: dict[str, Any]
) -> None:
    llm = ListedAnswers([f"Here you are:\n```json\n{json.dumps(draft, indent=1)}\n```"])
    before = environment.state_hash()
    task = await writer(llm, gym, 1).write(environment)
    assert (task.task_id, task.goal, task.difficulty, task.follows_from) == (
        "d1/t0",
        draft["goal"],
        task.difficulty,
        None,
    )
    assert [call.tool for call in task.gold_calls] == [call["tool"] for call in draft["plan"]]
    assert "${" not in json.dumps([call.arguments for call in task.gold_calls])
    assert task.told_values
    assert task.rubric.criteria == ("It is done.",)
    assert all(call.tool in pattern for call, pattern in zip(task.plan, task.rubric.tool_pattern, strict=True))
    assert environment.state_hash() == before


def changed(draft: dict[str, Any], **changes: Any) -> str:
    return json.dumps(draft | changes)


async def test_each_refusal_reaches_the_model_and_is_counted(
    gym: DomainTools, environment: Environment, draft: dict[str, Any]
) -> None:
    plan = draft["plan"]
    other = {"tool": "get_member", "arguments": {}, "tell": []}
    refused = {
        "no draft": "expected a JSON object",
        changed(draft, plan=[]): "the plan is empty",
        changed(draft, subgoals=[]): "subgoals: ",
        changed(draft, criteria=[]): "criteria: ",
        changed(draft, plan=[*plan, {"tool": "open_door", "arguments": {}}]): "open_door): there is no such tool",
        changed(draft, plan=[{**plan[0], "subgoal": 9}]): "a subgoal that is not among",
        changed(draft, plan=[{**plan[0], "subgoal": -1}]): "a subgoal that is not among",
        changed(draft, plan=[{**plan[0], "arguments": {"x": "${5.id}"}}]): "call 0",
        changed(
            draft, plan=[{**call, "tell": []} for call in plan if not call["tool"].startswith("update")][:1]
        ): "nothing to check",
        changed(draft, goal="Something else."): "do not stand in the goal word for word",
        changed(draft, goal="Seen before."): "this exact goal is in the training data",
        changed(draft, plan=[*plan, other]): "call ",
    }
    llm = ListedAnswers([*refused, json.dumps(draft)])
    tasks = writer(llm, gym, len(refused) + 1, frozenset(["Seen before."]))
    task = await tasks.write(environment)
    assert task.goal == draft["goal"]
    assert len({request.messages[0] for request in llm.requests}) == 1, "the prompt stays, so that it is cached"
    for complaint, request in zip(refused.values(), llm.requests[1:], strict=True):
        assert complaint in request.messages[-1].content
    assert sum(tasks.refusals.values()) - tasks.refusals["difficulty"] == len(refused)
    assert len({request.key for request in llm.requests}) == len(llm.requests)


async def test_after_all_attempts_the_writer_is_to_blame(gym: DomainTools, environment: Environment) -> None:
    with pytest.raises(
        UnusableAnswerError, match=r"^task_writer: nothing usable in 2 attempts: expected .*one.*; expected .*two"
    ) as raised:
        await writer(ListedAnswers(["one", "two", "three"]), gym, 2).write(environment)
    assert raised.value.role == "task_writer"


async def test_a_task_must_be_unsolved_in_the_present_state(gym: DomainTools, environment: Environment) -> None:
    """A change that a dialogue has made cannot be a task in it again, but can be one in another."""
    plan = [{"tool": "delete_booking", "arguments": {"booking_id": 108}}]
    goal = "The user wants to delete booking number 108."
    draft = json.dumps(
        {"goal": goal, "subgoals": ["delete booking number 108"], "plan": plan, "criteria": ["It is gone."]}
    )
    task = await writer(ListedAnswers([draft]), gym, 1).write(environment)
    assert task.mutates
    await environment.call("delete_booking", {"booking_id": 108})
    with pytest.raises(UnusableAnswerError, match=r"call 0 \(delete_booking\) gives .*\"rows_affected\": 0"):
        await writer(ListedAnswers([draft]), gym, 1).write(environment)


async def test_without_execution_a_task_carries_its_plan_but_no_proof(gym: DomainTools, draft: dict[str, Any]) -> None:
    simulated = SimulatedEnvironmentFactory().for_domain(gym.toolset, Meter(ScriptedLLM()), "d1").open()
    task = await writer(ListedAnswers([json.dumps(draft)]), gym, 1).write(simulated)
    assert task.plan
    assert not task.gold_calls
    assert not task.told_values


async def test_the_answer_is_guided_to_the_tools_and_to_every_field(gym: DomainTools, environment: Environment) -> None:
    draft = {"goal": "g", "subgoals": ["g"], "plan": [], "criteria": ["c"], "checkpoints": []}
    call = {"tool": "get_member", "arguments": {"member_id": 1}, "subgoal": 0, "tell": []}
    llm = ListedAnswers(["none"])
    with pytest.raises(UnusableAnswerError):
        await writer(llm, gym, 1).write(environment)
    schema = llm.requests[0].json_schema
    assert schema
    assert list(schema["properties"]) == ["goal", "subgoals", "plan", "criteria", "checkpoints"]
    assert schema_error(draft | {"plan": [call]}, schema) is None
    for wrong in (
        {"plan": []},
        {"subgoals": []},
        {"criteria": []},
        {"difficulty": "hard"},
        {"plan": [call | {"tool": "open_door"}]},
        {"plan": [call | {"arguments": "x"}]},
        {"plan": [call | {"arguments": {"x": 1}}]},
        {"plan": [{key: value for key, value in call.items() if key != "tell"}]},
    ):
        assert schema_error(draft | {"plan": [call]} | wrong, schema), wrong


async def test_a_follow_up_names_the_task_it_extends(
    gym: DomainTools, environment: Environment, draft: dict[str, Any]
) -> None:
    first = await writer(ListedAnswers([json.dumps(draft)]), gym, 1).write(environment)
    used = next(value for call in first.plan for value in call.arguments.values())
    for facts, wanted, follows in (
        ({"member_id": used}, True, "d1/t0"),
        ({"member_id": "something else"}, True, None),
        ({"colour": used, "booking_id": None, "member_id": True}, False, None),  # no tool takes a colour
        ({}, False, None),
    ):
        llm = ListedAnswers([json.dumps(draft)])
        tasks = writer(llm, gym, 1, follow_ups=1.0)
        second = await tasks.write(environment, (first,), facts)
        assert second.task_id == "d1/t1"
        assert second.follows_from == follows
        assert tasks.requests["d1/t1"].follow_up is wanted
        assert ("naturally continues" in llm.requests[0].messages[0].content) is wanted
        assert ("independent of the earlier" in llm.requests[0].messages[0].content) is not wanted


async def test_a_follow_up_that_uses_nothing_learnt_is_refused_while_a_better_one_may_come(
    gym: DomainTools, environment: Environment, draft: dict[str, Any]
) -> None:
    delete = {
        "goal": "The user wants to delete booking number 108.",
        "subgoals": ["delete booking number 108"],
        "plan": [{"tool": "delete_booking", "arguments": {"booking_id": 108}}],
        "criteria": ["It is gone."],
    }
    first = await writer(ListedAnswers([json.dumps(draft)]), gym, 1).write(environment)
    asked = {"follow_ups": 1.0, "difficulties": {"easy": 1.0}}
    other = json.dumps(delete | {"goal": delete["goal"] + " Really."})
    for answers, facts, follows in (
        ([other, "?", json.dumps(delete)], {"booking_id": 109}, None),
        ([json.dumps(draft), json.dumps(delete)], {"booking_id": 108}, "d1/t0"),
    ):
        llm = ListedAnswers(answers)
        tasks = writer(llm, gym, len(answers), **asked)
        task = await tasks.write(environment, (first,), facts)
        assert (task.goal, task.follows_from) == (delete["goal"], follows)
        assert tasks.refusals["no follow-up"] == (2 if follows is None else 1)
        assert 'a follow-up uses at least one of {"booking_id": ' in llm.requests[1].messages[-1].content


async def test_a_good_task_of_another_difficulty_is_better_than_none(
    gym: DomainTools, environment: Environment, draft: dict[str, Any]
) -> None:
    """Whatever the model answers afterwards: a repeated answer ends the attempts."""
    answers = [json.dumps(draft), json.dumps(draft)]
    tasks = writer(ListedAnswers(answers), gym, 6, difficulties={"easy": 1.0})
    task = await tasks.write(environment)
    assert (task.goal, task.difficulty != "easy") == (draft["goal"], True)
    assert tasks.refusals == {"difficulty": 2}
    assert tasks.requests["d1/t0"].difficulty == "easy"


@pytest.mark.parametrize(
    "changes",
    [
        {"count": {1: 0.0}},
        {"count": {1: 1.0, 2: -1.0}},
        {"difficulties": {"easy": 0.0, "hard": 0.0}},
        {"difficulties": {"easy": float("inf")}},
        {"difficulties": {"easy": float("nan")}},
    ],
)
def test_weights_without_a_positive_sum_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="weights of 0 or more"):
        task_settings("user_oriented_exec", **changes)
