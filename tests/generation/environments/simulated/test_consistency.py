"""Random dialogues against a checker that knows the domain: none contradicts itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from core.messages import AssistantMessage
from generation.environments.simulated.environment import SimulatedEnvironmentFactory
from generation.environments.simulated.ledger import Ledger
from generation.llm.base import Completion, Request, UnusableAnswerError
from generation.llm.contexts import ToolSimulatorContext
from generation.llm.meter import Meter
from generation.scripted import tool_simulator
from generation.tools.toolset import Toolset
from tests.generation.helpers.ledger_calls import Step, tool

INTEGER, STRING = {"type": "integer"}, {"type": "string"}


def an_object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


CUSTOMER = an_object(customer_id=INTEGER, name=STRING, email=STRING, city=STRING)


ORDER = an_object(order_id=INTEGER, customer_id=INTEGER, total={"type": "number"}, status=STRING, note=STRING)


DONE = an_object(success={"const": True})


TOOLS = (
    tool("get_customer", CUSTOMER, customer_id=INTEGER),
    tool("list_customers", an_object(customers={"type": "array", "items": CUSTOMER})),
    tool("search_orders", {"type": "array", "items": ORDER}, customer_id=INTEGER),
    tool("get_order", ORDER, order_id=INTEGER),
    tool("create_order", an_object(order_id=INTEGER, total={"type": "number"}), customer_id=INTEGER, note=STRING),
    tool("update_customer", DONE, customer_id=INTEGER, city=STRING),
    tool("cancel_order", DONE, order_id=INTEGER),
    tool("delete_order", DONE, order_id=INTEGER),
)


READS = {"get_customer", "list_customers", "search_orders", "get_order"}


@dataclass
class StandIn:
    """The scripted tool simulator as a model."""

    error_rate: float = tool_simulator.ERROR_RATE
    name: str = "stand-in"

    async def complete(self, request: Request) -> Completion:
        assert isinstance(request.context, ToolSimulatorContext)
        text = tool_simulator.answer(request.context, Random(request.key), request.affinity, self.error_rate)
        return Completion(AssistantMessage(content=text))

    async def close(self) -> None: ...


async def dialogue(
    number: int, attempts: int, error_rate: float = tool_simulator.ERROR_RATE
) -> tuple[list[Step], Meter]:
    """Thirty calls about a few customers and orders, most of them known from earlier answers."""
    rng, meter = Random(f"calls {number}"), Meter(StandIn(error_rate))
    toolset = Toolset(domain="shop", description="", tools=TOOLS)
    shop = SimulatedEnvironmentFactory(attempts=attempts).for_domain(toolset, meter, f"d{number}").open()
    seen: dict[str, list[int]] = {"customer_id": [1, 2], "order_id": [3]}
    steps: list[Step] = []
    for _ in range(30):
        spec = rng.choice(TOOLS)
        arguments: dict[str, Any] = {}
        for name in spec.parameters["properties"]:
            arguments[name] = rng.choice(seen[name][-6:]) if name in seen else rng.choice(("Rome", "Oslo", "Bonn"))
        try:
            result = await shop.call(spec.name, arguments)
        except UnusableAnswerError:  # it repeats a refused answer: the call never happened
            continue
        assert json.loads(result.content) == result.value
        steps.append((spec.name, arguments, result.value))
        for record in rows(result.value):
            for name in seen.keys() & record.keys():
                seen[name].append(record[name])
    return steps, meter


def rows(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return list(value.get("customers", [value]))
    return list(value)


def violations(steps: list[Step]) -> Iterator[str]:
    """Contradictions that a reader who knows the shop would notice.

    Names, e-mail addresses and an order's customer and note never change, a city only by an update; without a change
    nothing changes; a deleted order does not exist, a new one is on its customer's list.
    """
    fixed: dict[tuple[Any, ...], Any] = {}
    since: dict[tuple[Any, ...], Any] = {}
    deleted: set[int] = set()
    expected: dict[int, int] = {}
    for name, arguments, value in steps:
        failed = isinstance(value, dict) and "error" in value
        if name not in READS:
            since = {}
        if failed or (name == "get_order" and arguments["order_id"] in deleted):
            if not failed:
                yield f"{arguments} was deleted"
            continue
        if name == "update_customer":
            fixed["city", arguments["customer_id"]] = arguments["city"]
        elif name in ("delete_order", "cancel_order"):
            expected.pop(arguments["order_id"], None)
            deleted |= {arguments["order_id"]} if name == "delete_order" else set()
        elif name == "create_order":
            made = value["order_id"]
            if ("customer_id of", made) in fixed and made not in deleted:
                yield f"{made} was there before"
            deleted.discard(made)
            for key in [key for key in fixed if key[1] == made and key[0] in ("customer_id of", "note")]:
                del fixed[key]
            fixed["customer_id of", made], fixed["note", made] = arguments["customer_id"], arguments["note"]
            expected[made] = arguments["customer_id"]
        else:
            if since.setdefault((name, json.dumps(arguments)), value) != value:
                yield f"{name} {arguments} changed by itself"
            yield from row_violations(value, fixed, since, deleted)
            if name == "search_orders" and len(value) < 10:
                listed = {row["order_id"] for row in value}
                yield from (
                    f"{o} left out" for o, c in expected.items() if c == arguments["customer_id"] and o not in listed
                )


def row_violations(value: Any, fixed: dict[Any, Any], since: dict[Any, Any], deleted: set[int]) -> Iterator[str]:
    for row in rows(value):
        order = row.get("order_id")
        if order in deleted:
            yield f"{order} was deleted"
        constant = (
            {"customer_id of": row["customer_id"], "note": row["note"]}
            if order
            else {k: row[k] for k in ("name", "email", "city")}
        )
        number = order or row["customer_id"]
        for field, given in constant.items():
            if not order and field != "city" and fixed.setdefault((field, "c", number), given) != given:
                yield f"{field} of customer {number}"
            if ((order and field != "note") or field == "city") and fixed.setdefault((field, number), given) != given:
                yield f"{field} of {number}"
        if since.setdefault((bool(order), number), row) != row:
            yield f"{row} changed by itself"


async def test_no_random_dialogue_contradicts_itself_and_every_slip_is_counted() -> None:
    found, caught = [], 0
    for number in range(60):
        steps, meter = await dialogue(number, attempts=12, error_rate=0.25)
        found += violations(steps)
        caught += meter.flaws["tool_simulator/contradiction"]
    assert found == []
    assert caught > 50


async def test_without_the_ledger_the_checker_finds_many_contradictions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "contradiction", lambda self, name, arguments, value: None)
    found = [
        problem
        for number in range(60)
        for problem in violations((await dialogue(number, attempts=1, error_rate=0.25))[0])
    ]
    assert len(found) > 150
    for what in ("left out", "was deleted", "city of", "name of", "changed by itself"):
        assert any(what in problem for problem in found), what


async def test_a_dialogue_is_the_same_every_time() -> None:
    assert (await dialogue(7, 4))[0] == (await dialogue(7, 4))[0] != (await dialogue(8, 4))[0]
