"""τ² as an environment: hashes, diffs, forks and snapshots of its state."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from generation.environments.tau2 import Tau2Environment
from generation.seeds.tau2_data import DOMAINS, database
from tests.generation.helpers.tau2_official import PERSON, booking, card_holder, free_environment

ADDRESS = ("address1", "address2", "city", "state", "country", "zip")


def first_entity(domain: str, kind: str, **wanted: Any) -> dict[str, Any]:
    """A free entity whose fields have these values."""
    entities = getattr(database(DOMAINS[domain]), kind).values()
    found = next(e for e in entities if all(getattr(e, name) == value for name, value in wanted.items()))
    return dict(found.model_dump(mode="json"))


async def readdress(environment: Tau2Environment, user_id: str, address: dict[str, Any]) -> None:
    arguments = {"user_id": user_id, **{name: address[name] for name in ADDRESS}}
    assert not (await environment.call("modify_user_address", arguments)).error


async def test_reading_changes_nothing() -> None:
    environment = free_environment("airline")
    initial = environment.state_hash()
    user = first_entity("airline", "users")
    await environment.call("get_user_details", {"user_id": user["user_id"]})
    await environment.call("search_direct_flight", {"origin": "JFK", "destination": "SEA", "date": "2024-05-20"})
    assert (environment.state_hash(), environment.state_diff()) == (initial, ())


async def test_the_hash_depends_on_the_state_and_not_on_the_path() -> None:
    one, other = free_environment("retail"), free_environment("retail")
    users = list(database(DOMAINS["retail"]).users.values())[:2]
    address = dict.fromkeys(ADDRESS, "x")
    for environment, order in ((one, users), (other, users[::-1])):
        for user in order:
            await readdress(environment, user.user_id, address)
    await readdress(other, users[0].user_id, address | {"city": "elsewhere"})
    assert one.state_hash() != other.state_hash()
    await readdress(other, users[0].user_id, address)
    assert one.state_hash() == other.state_hash() != free_environment("retail").state_hash()
    for user in users:
        await readdress(one, user.user_id, user.address.model_dump())
    assert one.state_hash() == free_environment("retail").state_hash()
    assert one.state_diff() == ()


async def test_the_order_of_added_cards_does_not_count() -> None:
    user_id, _ = card_holder()
    arguments = booking(user_id, "certificate_3221322")
    price = arguments["payment_methods"][0]["amount"]
    first_card, second_card = (("send_certificate", {"user_id": user_id, "amount": amount}) for amount in (price, 50))
    book = ("book_reservation", arguments)
    states = []
    for calls in ((first_card, book, first_card, second_card), (first_card, second_card, book, first_card)):
        environment = free_environment("airline")
        assert not any([(await environment.call(*call)).error for call in calls])
        states.append(environment)
    one, other = states
    shown = [(await state.call("get_user_details", {"user_id": user_id})).content for state in states]
    assert shown[0] != shown[1], "the benchmark shows them in that order"
    assert (one.state_hash(), one.state_diff()) == (other.state_hash(), other.state_diff())
    for state, text in zip(states, shown, strict=True):
        fork = state._domain_environment.open(state.snapshot())
        assert (await fork.call("get_user_details", {"user_id": user_id})).content == text


async def test_the_diff_has_one_line_per_changed_entity() -> None:
    environment = free_environment("retail")
    order = first_entity("retail", "orders", status="pending")
    paid = order["payment_history"][0]
    await environment.call("cancel_pending_order", {"order_id": order["order_id"], "reason": "no longer needed"})
    line = next(line for line in environment.state_diff() if " orders " in line)
    assert line == (
        f'UPDATE orders {order["order_id"]}: cancel_reason null -> "no longer needed", '
        f"payment_history[1].amount nothing -> {paid['amount']}, "
        f'payment_history[1].payment_method_id nothing -> "{paid["payment_method_id"]}", '
        'payment_history[1].transaction_type nothing -> "refund", status "pending" -> "cancelled"'
    )
    assert list(environment.state_diff()) == sorted(environment.state_diff())


async def test_a_new_entity_is_in_the_diff_and_the_snapshot() -> None:
    environment = free_environment("airline")
    user_id, card = card_holder()
    arguments = booking(user_id, card)
    booked = await environment.call("book_reservation", arguments)
    assert booked.value["reservation_id"] == "HATHAT"
    kinds = [line.split(":")[0].rsplit(" ", 1)[0] for line in environment.state_diff()]
    assert kinds == ["INSERT reservations", "UPDATE flights", "UPDATE users"]
    again = await environment.call("get_reservation_details", {"reservation_id": "HATHAT"})
    assert again.content == booked.content


async def test_forks_are_independent() -> None:
    parent = free_environment("airline")
    user_id, card = card_holder()
    await parent.call("book_reservation", booking(user_id, card))
    before = parent.state_hash()
    left, right = parent.fork(), parent.fork()
    assert left.state_hash() == right.state_hash() == before
    await left.call("cancel_reservation", {"reservation_id": "HATHAT"})
    await right.call("update_reservation_passengers", {"reservation_id": "HATHAT", "passengers": [PERSON]})
    assert len({parent.state_hash(), left.state_hash(), right.state_hash()}) == 3
    assert (await parent.call("get_reservation_details", {"reservation_id": "HATHAT"})).value["status"] is None
    assert not any("HATHAT" in line for line in free_environment("airline").state_diff())
    assert (await free_environment("airline").call("get_reservation_details", {"reservation_id": "HATHAT"})).error
    left.reset()
    assert left.state_hash() == free_environment("airline").state_hash()
    assert parent.state_hash() == before


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every entity that is copied or built while the test runs."""
    made: list[Any] = []
    duplicate, build = BaseModel.model_copy, BaseModel.model_validate.__func__

    def counted(self: BaseModel, **options: Any) -> BaseModel:
        made.append(self)
        return duplicate(self, **options)

    def validated(cls: type[BaseModel], *values: Any, **options: Any) -> BaseModel:
        made.append(cls)
        return build(cls, *values, **options)

    monkeypatch.setattr(BaseModel, "model_copy", counted)
    monkeypatch.setattr(BaseModel, "model_validate", classmethod(validated))
    return made


async def test_forks_copy_nothing_and_a_call_copies_what_it_touches(copies: list[Any]) -> None:
    parent = free_environment("airline")
    user_id, card = card_holder()
    arguments = booking(user_id, card)
    await parent.call("book_reservation", arguments)
    del copies[:]
    forks = [parent.fork() for _ in range(1000)]
    hashes = {fork.state_hash() for fork in forks}
    assert (len(hashes), copies) == (1, [])
    await forks[0].call("cancel_reservation", {"reservation_id": "HATHAT"})
    assert len(copies) == 2, "one reservation, copied to work on and checked when changed"
    assert forks[0].state_hash() not in hashes


async def test_the_shared_database_survives_random_calls() -> None:
    data = database(DOMAINS["retail"])
    before = data.get_hash()
    for number in range(20):
        await random_calls(free_environment("retail"), Random(number), 10)
    assert data.get_hash() == before


async def random_calls(environment: Tau2Environment, rng: Random, steps: int) -> list[tuple[str, dict[str, Any], str]]:
    """Random calls about one customer, most of them valid; returns them with their results."""
    data = database(DOMAINS["retail"])
    user = rng.choice([user for user in data.users.values() if user.orders])
    made = []
    for _ in range(steps):
        name, arguments = _step(data, user, rng)
        made.append((name, arguments, (await environment.call(name, arguments)).content))
    return made


def _step(data: Any, user: Any, rng: Random) -> tuple[str, dict[str, Any]]:
    order = data.orders[rng.choice(user.orders)]
    item = rng.choice(order.items)
    own = {"order_id": order.order_id, "payment_method_id": rng.choice(sorted(user.payment_methods))}
    items = own | {"item_ids": [item.item_id]}
    other = rng.choice(sorted(data.products[item.product_id].variants))
    address = dict.fromkeys(ADDRESS, rng.choice("ab"))
    return rng.choice(
        [
            ("get_order_details", {"order_id": order.order_id}),
            ("cancel_pending_order", {"order_id": order.order_id, "reason": "ordered by mistake"}),
            ("return_delivered_order_items", items),
            ("exchange_delivered_order_items", items | {"new_item_ids": [other]}),
            ("modify_pending_order_items", items | {"new_item_ids": [other]}),
            ("modify_pending_order_payment", own),
            ("modify_pending_order_address", {"order_id": order.order_id, **address}),
            ("modify_user_address", {"user_id": user.user_id, **address}),
        ]
    )


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6), steps=st.integers(0, 12))
def test_a_snapshot_is_the_state(seed: int, steps: int) -> None:
    async def check() -> None:
        environment = free_environment("retail")
        made = await random_calls(environment, Random(seed), steps)
        opened = environment._domain_environment.open(environment.snapshot())
        assert opened.state_hash() == environment.state_hash()
        assert opened.state_diff() == environment.state_diff()
        assert opened.snapshot() == environment.snapshot()
        rng = Random(f"{seed}/more")
        assert await random_calls(opened, rng, 5) == await random_calls(environment.fork(), Random(f"{seed}/more"), 5)
        again = free_environment("retail")
        assert await again.retrace(made)
        assert again.state_hash() == environment.state_hash()

    asyncio.run(check())


async def test_retracing_detects_a_different_result() -> None:
    made = await random_calls(free_environment("retail"), Random(1), 4)
    name, arguments, content = made[-1]
    assert not await free_environment("retail").retrace([*made[:-1], (name, arguments, content + " ")])


def test_a_snapshot_of_another_domain_is_refused() -> None:
    with pytest.raises(ValueError, match="tau2_retail"):
        free_environment("retail")._domain_environment.open(free_environment("airline").snapshot())
