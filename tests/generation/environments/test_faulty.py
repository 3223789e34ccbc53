"""Environments with faults on demand: which faults occur, how often, what they leave alone, and how they replay."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.messages import ToolSpec
from generation.environments.base import Environment
from generation.environments.faulty import FaultyEnvironmentFactory
from generation.environments.simulated.environment import SimulatedEnvironmentFactory
from generation.environments.sql import SqlEnvironmentFactory
from generation.llm.meter import Meter
from generation.scripted.llm import ScriptedLLM
from generation.tools.toolset import Toolset
from tests.generation.helpers.faulty_environments import domain_environment
from tests.generation.helpers.pipeline_runs import ListedAnswers
from tests.generation.helpers.shop_database import TABLES, call

SEEDS = 200


def error_text(environment: Environment, name: str, /, **arguments: Any) -> str:
    result = call(environment, name, **arguments)
    assert result.error == ("error" in result.value if isinstance(result.value, dict) else False)
    return str(result.value["error"]) if result.error else ""


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
                "it does not pass with time"
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
