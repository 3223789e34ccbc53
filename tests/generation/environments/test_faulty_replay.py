"""Faults on replay: the same calls meet the same faults; proofs meet none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.dialogue import PlannedCall
from core.messages import ToolSpec
from core.settings import UserError
from generation.environments.faulty import FaultyEnvironmentFactory
from generation.environments.simulated.environment import SimulatedEnvironmentFactory
from generation.environments.sql import SqlEnvironmentFactory
from generation.llm.meter import Meter
from generation.scripted.llm import ScriptedLLM
from generation.tasks.proof import execute
from generation.tools.toolset import Toolset
from tests.generation.helpers.faulty_environments import domain_environment
from tests.generation.helpers.shop_database import TOOLS, call

KINDS = ("tool_error", "permission", "schema_mismatch", "partial_view")


def test_proofs_run_without_faults(sql: SqlEnvironmentFactory, toolset: Toolset) -> None:
    environment = domain_environment(sql, toolset, **dict.fromkeys(KINDS, 1.0)).open()
    fork = environment.fork()
    assert [row["name"] for row in call(fork, "list_customers").value] == ["Ada", "Bo", "Cy"]
    assert call(fork, "delete_customer", customer_id=1).value == {"rows_affected": 1}
    assert environment.state_diff() == (), "a fork is private"
    fork.close()
    environment.close()


def test_without_faults_nothing_changes(sql: SqlEnvironmentFactory, toolset: Toolset) -> None:
    faulty, plain = (
        domain_environment(sql, toolset).open(),
        sql.for_domain(toolset, Meter(ScriptedLLM()), "d").open(),
    )
    for name, arguments in some_calls(Random(1), 60):
        assert asyncio.run(faulty.call(name, arguments)) == asyncio.run(plain.call(name, arguments))
        assert (faulty.state_hash(), faulty.state_diff()) == (plain.state_hash(), plain.state_diff())
    assert call(faulty, "no_such_tool") == call(plain, "no_such_tool")
    faulty.close()
    plain.close()


def some_calls(rng: Random, count: int) -> list[tuple[str, dict[str, Any]]]:
    """Calls of the shop's tools, many of them repeated."""
    drawn = []
    values: dict[str, Sequence[Any]] = {"integer": (1, 2, 10), "number": (1.5, -1), "string": ("pen", "Oslo", "x")}
    for tool in (rng.choice(TOOLS) for _ in range(count)):
        properties = tool.spec.parameters["properties"]
        drawn.append((tool.spec.name, {key: rng.choice(values[part["type"]]) for key, part in properties.items()}))
    return drawn


@given(seed=st.integers(0, 10_000), cut=st.integers(0, 30))
@settings(max_examples=40, deadline=None)
def test_repeated_calls_meet_the_same_faults(sql: SqlEnvironmentFactory, toolset: Toolset, seed: int, cut: int) -> None:
    made = some_calls(Random(seed), 30)
    shares = dict.fromkeys(KINDS, 0.3)
    first = domain_environment(sql, toolset, seed, **shares).open()
    recorded = [(name, arguments, asyncio.run(first.call(name, arguments)).content) for name, arguments in made]

    again = domain_environment(sql, toolset, seed, **shares)
    retraced = again.open()
    assert asyncio.run(retraced.retrace(recorded[:cut]))
    resumed = again.open(retraced.snapshot())
    for environment in (retraced, resumed):
        contents = [asyncio.run(environment.call(name, arguments)).content for name, arguments, _ in recorded[cut:]]
        expected = [content for *_, content in recorded[cut:]]
        assert contents == expected or environment is resumed
        assert list(map(without_row_order, contents)) == list(map(without_row_order, expected))
        assert environment.state_hash() == first.state_hash()
    retraced.reset()
    assert asyncio.run(retraced.retrace(recorded)), "as at the beginning"
    retraced.reset()
    assert not asyncio.run(retraced.retrace([*recorded[:-1], (*recorded[-1][:2], "forged")]))
    for environment in (first, retraced, resumed):
        environment.close()


def without_row_order(content: str) -> Any:
    """A result regardless of row order, which SQL leaves open and a restored state need not keep."""
    value = json.loads(content)
    return sorted(map(json.dumps, value)) if isinstance(value, list) else value


def test_a_fault_is_counted_once_however_often_it_is_replayed(sql: SqlEnvironmentFactory, toolset: Toolset) -> None:
    meter = Meter(ScriptedLLM())
    made = FaultyEnvironmentFactory(sql, {"tool_error": 1.0}).for_domain(toolset, meter, "d")
    for _ in range(3):
        environment = made.open()
        for number in (1, 1, 2, 1, 1):
            call(environment, "get_customer", customer_id=number)
        environment.close()
    assert meter.usage.flaws == {"environment/injected_tool_error": 3}


async def test_a_plan_that_a_fault_forbids_can_still_be_proved(sql: SqlEnvironmentFactory, toolset: Toolset) -> None:
    environment = domain_environment(sql, toolset, permission=1.0).open()
    trace = await execute([PlannedCall(tool="get_customer", arguments={"customer_id": 1}, tell=("city",))], environment)
    assert trace.told_values == ("Rome",)
    environment.close()


async def test_simulated_tools_adopt_recorded_answers_except_those_of_faults() -> None:
    spec = ToolSpec(name="get_pet", description="d", parameters={"type": "object", "properties": {}})
    toolset = Toolset(domain="zoo", description="", tools=(spec,))
    environments = FaultyEnvironmentFactory(SimulatedEnvironmentFactory(), {"tool_error": 1.0})
    assert (environments.executable, environments.engine) == (False, None)
    environment = environments.for_domain(toolset, Meter(ScriptedLLM()), "d").open()
    failed = (await environment.call("get_pet", {})).content
    answer = '{"pet_id": 1, "name": "Rex"}'
    other = environments.for_domain(toolset, Meter(ScriptedLLM()), "e").open()
    assert await other.retrace([("get_pet", {}, failed), ("get_pet", {}, answer)])
    inner = other.fork()
    assert (await inner.call("get_pet", {})).content == answer
    assert json.loads(inner.snapshot()) == [["get_pet", {}, answer]], "the failure is not the tool's answer"
    unfaulted = environments.for_domain(toolset, Meter(ScriptedLLM()), "f").open()
    assert await unfaulted.retrace([("get_pet", {}, answer)])
    assert (await unfaulted.fork().call("get_pet", {})).content == answer


@pytest.mark.parametrize(
    ("shares", "why"),
    [
        ({"permision": 0.2}, "'environment.shares.permision'; did you mean 'permission'"),
        ({"tool_error": 1.5}, "'environment.shares.tool_error': .*less than or equal to 1"),
    ],
)
def test_unknown_faults_are_named(shares: dict[str, float], why: str) -> None:
    with pytest.raises(UserError, match=why):
        FaultyEnvironmentFactory(SqlEnvironmentFactory(), shares)


def test_a_snapshot_contains_the_calls_as_text(sql: SqlEnvironmentFactory, toolset: Toolset) -> None:
    environment = domain_environment(sql, toolset).open()
    call(environment, "delete_visits", page="home")
    assert json.loads(environment.snapshot())["made"] == {'["delete_visits", {"page": "home"}]': 1}
    environment.close()
