"""τ² as an environment: bad calls, failing calls and missing packages."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from core.settings import UserError
from generation.environments.tau2 import Tau2EnvironmentFactory
from generation.scripted.llm import ScriptedLLM
from generation.seeds.tau2_data import DOMAINS, database, tool_specs
from generation.tools.toolset import Toolset
from tests.generation.helpers.tau2_official import booking, card_holder, free_environment


async def test_a_call_that_fails_halfway_changes_nothing() -> None:
    """The official booking uses up a certificate before it notices that it pays twice with it."""
    environment = free_environment("airline")
    user_id, _ = card_holder()
    arguments = booking(user_id, "certificate_3221322", seats=2)
    total = arguments["payment_methods"][0]["amount"]
    assert not (await environment.call("send_certificate", {"user_id": user_id, "amount": total})).error
    before = environment.state_hash()
    halves = [{"payment_id": "certificate_3221322", "amount": total // 2}] * 2
    assert total % 2 == 0
    result = await environment.call("book_reservation", arguments | {"payment_methods": halves})
    assert "certificate_3221322" in result.value["error"]
    assert environment.state_hash() == before
    assert not (await environment.call("book_reservation", arguments)).error


@pytest.mark.parametrize("amount", [10**400, -(10**400)])
async def test_numbers_beyond_json_are_refused(amount: int) -> None:
    environment = free_environment("airline")
    result = await environment.call("send_certificate", {"user_id": card_holder()[0], "amount": amount})
    assert (result.error, environment.state_diff()) == (True, ())


async def test_an_integer_may_be_written_with_a_decimal_point() -> None:
    one, other = free_environment("airline"), free_environment("airline")
    user_id = card_holder()[0]
    results = [
        await environment.call("send_certificate", {"user_id": user_id, "amount": amount})
        for environment, amount in ((one, 100), (other, 100.0))
    ]
    assert results[0] == results[1]
    assert one.state_hash() == other.state_hash()


@pytest.mark.parametrize(
    ("toolset", "says"),
    [
        ({"domain": "tau2_airline", "engine": "sql"}, "engine=sql"),
        ({"domain": "tau2_airlines", "engine": "tau2"}, "did you mean 'tau2_airline'"),
        ({"domain": "tau2_retail", "engine": "tau2", "tools": tool_specs(DOMAINS["airline"])[:1]}, "book_reservation"),
    ],
)
def test_a_toolset_of_another_domain_or_engine_is_refused(toolset: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        Tau2EnvironmentFactory().for_domain(Toolset(description="", **toolset), ScriptedLLM(), "d0")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "inspect_evals.tau2.utils", None)
    with pytest.raises(UserError, match=r"inspect_evals.*not installed.*\[eval\]"):
        database.__wrapped__(DOMAINS["retail"])
