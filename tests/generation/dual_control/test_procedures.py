"""Procedures: which steps they take, what proves a guided task, and how the user understands each step."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from core.policy import Policy, Workflow
from generation.environments.sql import SqlDomainEnvironment
from generation.pipeline import DomainTools
from generation.policies.workflows import WorkflowError, walk
from generation.seeds.support_desk import DESKS
from generation.seeds.support_desks.desk import SupportDesk
from generation.tasks.execution import Premises, ProofError
from generation.tasks.guided import prove_guided
from generation.utterances.instructions import instructed, speaks_of
from tests.generation.helpers.pipeline_runs import FinishedRun


@pytest.fixture(scope="module")
def smart_home(desks: tuple[DomainTools, ...]) -> Iterator[SqlDomainEnvironment]:
    toolset = next(desk.toolset for desk in desks if desk.domain.name == "smart_home")
    assert toolset.database
    environment = SqlDomainEnvironment("smart_home", toolset.database, toolset.sql_tools)
    yield environment
    environment.close()


def expected_steps(power: str, band: str, link: str) -> list[str]:
    """The procedure for a hub that is offline, by hand."""
    steps = ["check_hub_light"]
    if power == "off":
        steps += ["plug_in_hub", "check_hub_light"]
    if band == "5 GHz":
        steps.append("set_hub_wifi_band")
    steps.append("get_hub_account")
    if link == "unlinked":
        steps.append("relink_hub")
    return [*steps, "check_hub_light"]


def test_a_procedure_takes_the_steps_that_the_state_asks_for(
    desks: tuple[DomainTools, ...], smart_home: SqlDomainEnvironment
) -> None:
    toolset = next(desk.toolset for desk in desks if desk.domain.name == "smart_home")
    with closing(sqlite3.connect(f"file:{toolset.database}?mode=ro", uri=True)) as connection:
        hubs = connection.execute("SELECT hub_serial, power, wifi_band, cloud_link FROM hubs").fetchall()
    workflow = hub_offline(toolset.policy)
    environment = smart_home.open()
    paths = set()
    for serial, power, band, link in hubs:
        calls = asyncio.run(walk(workflow, {"hub_serial": serial}, environment))
        assert [call.tool for call in calls] == expected_steps(power, band, link)
        assert {call.arguments["serial"] for call in calls} == {serial}
        paths.add(tuple(call.tool for call in calls))
    assert len(paths) == 8
    assert environment.state_diff() == (), "it walks on a fork"
    with pytest.raises(WorkflowError, match="gives"):
        asyncio.run(walk(workflow, {"hub_serial": "HB-0000"}, environment))
    with pytest.raises(WorkflowError, match="hub_serial is not known"):
        asyncio.run(walk(workflow, {}, environment))
    environment.close()


def hub_offline(policy: Policy | None) -> Workflow:
    workflow = policy.workflow("hub_offline") if policy else None
    assert workflow
    return workflow


def test_a_task_is_proved_only_with_its_procedure(played: FinishedRun, smart_home: SqlDomainEnvironment) -> None:
    dialogue = next(d for d in played.accepted if d.domain == "smart_home")
    task, environment = dialogue.tasks[0], smart_home.open()
    premises = Premises(policy=dialogue.policy)
    assert asyncio.run(prove_guided(task, environment, premises)) == task
    with pytest.raises(ProofError, match="not what the procedure"):
        asyncio.run(prove_guided(task.model_copy(update={"plan": task.plan[1:]}), environment, premises))
    with pytest.raises(ProofError, match="has no procedure"):
        asyncio.run(prove_guided(task, environment, Premises(policy=Policy())))

    async def after() -> None:
        for call in task.gold_calls:
            await environment.call(call.tool, call.arguments)
        await prove_guided(task.model_copy(update={"plan": ()}), environment, premises)

    with pytest.raises(ProofError, match="there is no problem"):
        asyncio.run(after())
    environment.close()


@pytest.mark.parametrize("desk", DESKS.values(), ids=DESKS)
def test_every_step_of_the_user_is_understood_as_its_tool(desk: SupportDesk) -> None:
    values = {"${hub_serial}": "HB-1234", "${terminal_serial}": "PT-1234", "${sensor_label}": "SN-123"}
    specs = [tool.spec.model_dump() for tool in desk.user_tools]
    for step in (step for workflow in desk.workflows for step in workflow.steps):
        if step.actor == "agent":
            assert step.tool in {tool.spec.name for tool in desk.tools}
            continue
        order = f"Please {step.text.removeprefix('Have the user ')}"
        (use,) = instructed(order, specs, f"They are {', '.join(values.values())}.")
        arguments = {name: values.get(value, value) for name, value in step.arguments.items()}
        assert (use.tool, use.arguments) == (step.tool, arguments)
        assert speaks_of(order, step.tool)
