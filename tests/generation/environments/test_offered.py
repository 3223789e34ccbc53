"""A dialogue is offered a part of its domain's tools: the rest cannot be called, in any environment."""

from __future__ import annotations

from core.messages import ToolSpec
from generation.environments.base import DomainEnvironment
from generation.environments.offered import offering
from generation.environments.sql import SqlDomainEnvironment
from tests.generation.helpers.shop_database import TOOLS

SPECS = {tool.spec.name: tool.spec for tool in TOOLS}


def part(domain_environment: DomainEnvironment, *names: str) -> DomainEnvironment:
    return offering(domain_environment, [SPECS[name] for name in names])


def test_the_whole_pool_in_its_order_is_the_domain_itself(domain_environment: SqlDomainEnvironment) -> None:
    assert offering(domain_environment, tuple(SPECS.values())) is domain_environment


def test_only_the_offered_tools_are_there_in_their_order(domain_environment: SqlDomainEnvironment) -> None:
    names = list(SPECS)[:3][::-1]
    offered = part(domain_environment, *names)
    environment = offered.open()
    assert [tool.name for tool in environment.tools] == [tool.name for tool in offered.tools] == names
    environment.close()


def test_tools_of_the_dialogue_that_the_domain_lacks_are_left_out(domain_environment: SqlDomainEnvironment) -> None:
    own = ToolSpec(name="tell_a_joke", description="", parameters={})
    name = next(iter(SPECS))
    assert [tool.name for tool in offering(domain_environment, [own, SPECS[name]]).tools] == [name]


async def test_a_tool_that_is_not_offered_does_nothing(domain_environment: SqlDomainEnvironment) -> None:
    arguments = {"customer_id": 1, "city": "Bonn"}
    environment = part(domain_environment, "update_email", "delete_customer").open()
    before = environment.state_hash()
    result = await environment.call("update_city", arguments)
    assert result.error
    assert result.value == {"error": "there is no tool 'update_city'; there are: delete_customer, update_email"}
    assert environment.state_hash() == before
    environment.close()
    whole = domain_environment.open()
    assert not (await whole.call("update_city", arguments)).error
    assert whole.state_hash() != before
    whole.close()


async def test_states_are_those_of_the_domain(domain_environment: SqlDomainEnvironment) -> None:
    """Snapshots, forks and hashes mean the same with and without the other tools."""
    offered = part(domain_environment, "update_city")
    one, other = offered.open(), domain_environment.open()
    for environment in (one, other):
        await environment.call("update_city", {"customer_id": 1, "city": "Bonn"})
    assert (one.state_hash(), one.state_diff()) == (other.state_hash(), other.state_diff())
    fork, reopened = one.fork(), offered.open(one.snapshot())
    assert fork.state_hash() == reopened.state_hash() == one.state_hash()
    assert (await fork.call("update_email", {"customer_id": 1, "email": "a@b.c"})).error
    one.reset()
    assert one.state_hash() != fork.state_hash()
    for environment in (one, other, fork, reopened):
        environment.close()


async def test_refused_calls_are_retraced_too(domain_environment: SqlDomainEnvironment) -> None:
    offered = part(domain_environment, "update_city")
    calls = [("update_city", {"customer_id": 1, "city": "Bonn"}), ("update_email", {"customer_id": 1, "email": "x"})]
    first = offered.open()
    past = [(name, arguments, (await first.call(name, arguments)).content) for name, arguments in calls]
    again = offered.open()
    assert await again.retrace(past)
    assert again.state_hash() == first.state_hash()
    assert not await offered.open().retrace([(*past[1][:2], '{"rows_affected": 1}')])
    assert not await offered.open().retrace([(*past[0][:2], '{"rows_affected": 7}')])
