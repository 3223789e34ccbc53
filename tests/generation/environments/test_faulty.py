"""Environments with faults on demand: which faults occur, how often, what they leave alone, and how they replay."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.dialogue import PlannedCall
from core.messages import ToolSpec
from core.settings import UserError
from generation.environments.base import Environment
from generation.environments.faulty import FaultyDomainEnvironment, FaultyEnvironmentFactory
from generation.environments.simulated.environment import SimulatedEnvironmentFactory
from generation.environments.sql import SqlEnvironmentFactory
from generation.llm.meter import Meter
from generation.scripted.llm import ScriptedLLM
from generation.tasks.proof import execute
from generation.tools.toolset import Toolset
from tests.generation.helpers.pipeline_runs import ListedAnswers
from tests.generation.helpers.shop_database import TABLES, TOOLS, build, call

KINDS = ("tool_error", "permission", "schema_mismatch", "partial_view")
SEEDS = 200


@pytest.fixture(scope="module")
def toolset(tmp_path_factory: pytest.TempPathFactory) -> Toolset:
    path = build(tmp_path_factory.mktemp("shop") / "shop.sqlite")
    statements = {tool.spec.name: tool.sql for tool in TOOLS}
    return Toolset(
        domain="shop", description="", tools=tuple(t.spec for t in TOOLS), statements=statements, database=path
    )


@pytest.fixture(scope="module")
def sql() -> Iterator[SqlEnvironmentFactory]:
    environments = SqlEnvironmentFactory()
    yield environments
    environments.close()


def domain_environment(
    sql: SqlEnvironmentFactory, toolset: Toolset, seed: int = 0, **shares: float
) -> FaultyDomainEnvironment:
    return FaultyEnvironmentFactory(sql, shares, seed).for_domain(toolset, Meter(ScriptedLLM()), "d")


def error_text(environment: Environment, name: str, /, **arguments: Any) -> str:
    result = call(environment, name, **arguments)
    assert result.error == ("error" in result.value if isinstance(result.value, dict) else False)
    return str(result.value["error"]) if result.error else ""


# One fault at a time.


def test_a_failed_call_had_no_effect_and_a_retry_succeeds(sql: SqlEnvironmentFactory, toolset: Toolset) -> None:
    environment = domain_environment(sql, toolset, tool_error=1.0).open()
    untouched = environment.state_hash()
    assert "try again" in error_text(environment, "delete_customer", customer_id=2)
    assert (environment.state_hash(), environment.state_diff()) == (untouched, ())
    assert call(environment, "delete_customer", customer_id=2).value == {"rows_affected": 1}
    assert environment.state_hash() != untouched
    assert "try again" in error_text(environment, "delete_customer", customer_id=1), "another call is another matter"
    environment.close()


def test_the_share_of_failing_calls_is_as_configured(sql: SqlEnvironmentFactory, toolset: Toolset) -> None:
    environment = domain_environment(sql, toolset, tool_error=0.3).open()
    failures = sum(bool(error_text(environment, "get_customer", customer_id=number)) for number in range(1000))
    assert 250 < failures < 350
    environment.close()


def test_a_forbidden_tool_stays_forbidden_in_its_dialogue(sql: SqlEnvironmentFactory, toolset: Toolset) -> None:
    forbidden: list[set[str]] = []
    for seed in range(SEEDS):
        environment = domain_environment(sql, toolset, seed, permission=0.2).open()
        tables = [f"list_{table}" for table in TABLES]
        outcomes = [{name for name in tables if "permission denied" in error_text(environment, name)} for _ in range(2)]
        assert outcomes[0] == outcomes[1]
        forbidden.append(outcomes[0])
        environment.close()
    share = sum(map(len, forbidden)) / (SEEDS * len(TABLES))
    assert 0.15 < share < 0.25
    assert len({frozenset(names) for names in forbidden}) > 10, "each dialogue has its own"


@pytest.mark.parametrize("fixed", [True, False])
def test_fixed_faults_do_not_depend_on_the_first_call(
    sql: SqlEnvironmentFactory, toolset: Toolset, fixed: bool
) -> None:
    names = [f"list_{table}" for table in TABLES]

    def refused(first: str, seed: int) -> frozenset[str]:
        environments = FaultyEnvironmentFactory(sql, {"permission": 0.5}, seed, fixed)
        environment = environments.for_domain(toolset, Meter(ScriptedLLM()), "d").open()
        call(environment, first)
        found = frozenset(name for name in names if "permission denied" in error_text(environment, name))
        environment.close()
        return found

    found = [{refused(first, seed) for first in names} for seed in range(20)]
    assert all(len(each) == 1 for each in found) == fixed
    assert len(set[frozenset[str]]().union(*found)) > 2, "each seed has its own"


def test_a_refused_write_has_no_effect(sql: SqlEnvironmentFactory, toolset: Toolset) -> None:
    environment = domain_environment(sql, toolset, permission=1.0).open()
    assert "permission denied" in error_text(environment, "update_city", city="Lima", customer_id=1)
    assert environment.state_diff() == ()
    environment.close()


def test_a_column_mismatch_affects_every_result_of_its_tool(sql: SqlEnvironmentFactory, toolset: Toolset) -> None:
    kinds = set()
    plain = sql.for_domain(toolset, Meter(ScriptedLLM()), "d").open()
    for seed in range(SEEDS):
        environment = domain_environment(sql, toolset, seed, schema_mismatch=1.0).open()
        rows = call(environment, "list_customers").value
        real = call(plain, "list_customers").value
        changed = {(*(set(old) - set(new)), *(set(new) - set(old))) for old, new in zip(real, rows, strict=True)}
        ((column, *names),) = changed
        kinds.add((column, *names))
        assert [list(row.values()) for row in rows] == [
            [value for key, value in row.items() if names or key != column] for row in real
        ], "the others keep their values and places"
        environment.close()
    plain.close()
    assert {kind[0] for kind in kinds} == {"customer_id", "name", "city", "email"}
    assert ("customer_id", "customerId") in kinds
    assert ("name",) in kinds


def test_a_parameter_is_renamed(sql: SqlEnvironmentFactory, toolset: Toolset) -> None:
    answers = set()
    for seed in range(SEEDS):
        environment = domain_environment(sql, toolset, seed, schema_mismatch=1.0).open()
        if said := error_text(environment, "update_city", city="Lima", customer_id=1):
            answers.add(said)
            assert environment.state_diff() == ()
            assert error_text(environment, "update_city", city="Lima", customer_id=1) == said, (
                "it is no passing trouble"
            )
            renamed = (
                {"city_value": "Lima", "customer_id": 1} if "'city'" in said else {"city": "Lima", "customerId": 1}
            )
            assert not error_text(environment, "update_city", **renamed)
            assert environment.state_diff() == ("UPDATE customers customer_id=1: city 'Rome' -> 'Lima'",)
        environment.close()
    assert answers == {
        "unknown argument 'city'; expected: city_value, customer_id",
        "unknown argument 'customer_id'; expected: city, customerId",
    }


def test_a_partial_view_is_the_same_for_repeated_calls(sql: SqlEnvironmentFactory, toolset: Toolset) -> None:
    lacking = set()
    plain = sql.for_domain(toolset, Meter(ScriptedLLM()), "d").open()
    real = call(plain, "list_customers").value
    plain.close()
    for seed in range(SEEDS):
        environment = domain_environment(sql, toolset, seed, partial_view=1.0).open()
        rows = call(environment, "list_customers").value
        call(environment, "update_city", city="Lima", customer_id=3)
        moved = call(environment, "list_customers").value
        assert [row["customer_id"] for row in moved] == [row["customer_id"] for row in rows]
        assert [set(row) for row in moved] == [set(row) for row in rows]
        assert rows, "never nothing: that would say that there is nothing"
        assert all(
            row.items() <= next(r for r in real if r["customer_id"] == row["customer_id"]).items() for row in rows
        )
        lacking.add("rows" if len(rows) < 3 else "values" if rows != real else "nothing")
        assert call(environment, "delete_customer", customer_id=1).value == {"rows_affected": 1}, "no list"
        environment.close()
    assert lacking == {"rows", "values", "nothing"}


# What faults leave alone.


async def test_results_of_changes_are_complete() -> None:
    rows = json.dumps([{"pet_id": number, "name": "Rex"} for number in range(20)])
    tools = tuple(ToolSpec(name=f"{verb}_pets", description="d", parameters={}) for verb in ("update", "list"))
    toolset = Toolset(domain="zoo", description="", tools=tools)
    environments = FaultyEnvironmentFactory(SimulatedEnvironmentFactory(), {"partial_view": 1.0})
    environment = environments.for_domain(toolset, Meter(ListedAnswers([rows, rows])), "d").open()
    assert (await environment.call("update_pets", {})).content == rows
    assert (await environment.call("list_pets", {})).content != rows


def test_tool_errors_and_single_values_stay_unchanged(sql: SqlEnvironmentFactory, toolset: Toolset) -> None:
    plain = sql.for_domain(toolset, Meter(ScriptedLLM()), "d").open()
    wrong = call(plain, "list_visits", page="home")
    plain.close()
    changed = set()
    for seed in range(SEEDS):
        environment = domain_environment(sql, toolset, seed, schema_mismatch=1.0, partial_view=1.0).open()
        assert call(environment, "list_visits", page="home") == wrong
        changed.add(call(environment, "delete_visits", page="home").content)
        environment.close()
    assert {content for content in changed if "error" not in content} == {'{"rowsAffected": 2}'}


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


# Replay.


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
    assert trace.told == ("Rome",)
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
    assert json.loads(inner.snapshot()) == [["get_pet", {}, answer]], "the failure is no answer of the tool's"
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
