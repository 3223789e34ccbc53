"""τ²'s policies: the benchmark's own gold actions obey the rules, and calls that its policy forbids do not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import cache
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from evaluation.tau2.tasks import tasks
from generation.environments.base import PastCall
from generation.environments.tau2 import Tau2DomainEnvironment
from generation.policies.violations import broken_rules
from generation.seeds.tau2_data import DOMAINS, EXCLUDED_TOOLS, database, tool_specs, toolkit
from generation.seeds.tau2_policies import tau2_policy


@cache
def complete(domain: str) -> Tau2DomainEnvironment:
    """With the customers that the benchmark's tasks are about."""
    of = DOMAINS[domain]
    return Tau2DomainEnvironment(of.seed, tool_specs(of), database(of, unfiltered=True), toolkit(of))


async def broken_by_gold(domain: str) -> dict[str, list[str]]:
    """Task -> "tool: rule" of each rule that its gold actions break, each in the state after those before it."""
    policy, now = tau2_policy(DOMAINS[domain]), DOMAINS[domain].now
    found: dict[str, list[str]] = {}
    for name, task in tasks(domain).items():
        environment = complete(domain).open()
        earlier: list[PastCall] = []
        for action in task["evaluation_criteria"]["actions"] or ():
            if action["name"] in EXCLUDED_TOOLS:
                continue
            tool, arguments = action["name"], action["arguments"]
            broken = await broken_rules(policy, tool, arguments, environment, None, now, earlier)
            found.setdefault(name, []).extend(f"{tool}: {rule.rule_id}" for rule in broken)
            result = await environment.call(tool, arguments)
            earlier.append((tool, arguments, result.content))
    return {name: rules for name, rules in found.items() if rules}


FINDS = ("find_user_id_by_email", "find_user_id_by_name_zip")


def test_the_airlines_gold_actions_obey_its_rules_but_for_three_that_contradict_its_text() -> None:
    """Task 7 cancels an economy reservation of two weeks ago without insurance; 9 and 37 one that has been flown."""
    assert asyncio.run(broken_by_gold("airline")) == {
        "7": ["cancel_reservation: when_reservations_can_be_cancelled"],
        "9": ["cancel_reservation: flown_reservations_stay"],
        "37": ["cancel_reservation: flown_reservations_stay"],
    }


def test_the_shops_gold_actions_obey_its_rules_where_they_name_the_look_up_of_the_user() -> None:
    """Task 64 exchanges an item of a pending order, which the tool refuses. Where the gold actions are the changes
    alone, without any look-up, no call shows that the user was found."""
    broken = asyncio.run(broken_by_gold("retail"))
    assert broken.pop("64") == ["exchange_delivered_order_items: delivered_orders_only"]
    for name, rules in broken.items():
        actions = tasks("retail")[name]["evaluation_criteria"]["actions"]
        assert not {action["name"] for action in actions} & set(FINDS), name
        assert {rule.partition(": ")[2] for rule in rules} <= {"known_owner_of_the_order", "known_user"}, name
    assert len(broken) == 45


def test_rules_fit_the_benchmarks_tools() -> None:
    for domain in DOMAINS.values():
        policy = tau2_policy(domain)
        names = {tool.name for tool in tool_specs(domain)}
        assert {tool for rule in policy.rules for tool in rule.tools} <= names
        assert policy.shown == policy.text


def rules_broken(domain: str, tool: str, arguments: dict[str, Any], earlier: Iterable[PastCall] = ()) -> set[str]:
    environment = complete(domain).open()
    policy, now = tau2_policy(DOMAINS[domain]), DOMAINS[domain].now
    return {
        rule.rule_id
        for rule in asyncio.run(broken_rules(policy, tool, arguments, environment, None, now, tuple(earlier)))
    }


orders = sorted(complete("retail").stored["orders"])


@given(key=st.sampled_from(orders), known=st.booleans(), reason=st.sampled_from(["no longer needed", "too dear"]))
def test_changes_of_orders_against_a_naive_reference(key: str, known: bool, reason: str) -> None:
    order: Any = complete("retail").stored["orders"][key]
    found: list[PastCall] = [(FINDS[0], {"email": "x"}, order.user_id if known else "ann_lee_1")]
    naive = set() if known else {"known_owner_of_the_order"}
    pending = naive | (set() if order.status == "pending" else {"pending_orders_only"})
    delivered = naive | (set() if order.status == "delivered" else {"delivered_orders_only"})
    cancel = rules_broken("retail", "cancel_pending_order", {"order_id": key, "reason": reason}, found)
    assert cancel == pending | (set() if reason == "no longer needed" else {"reasons_to_cancel"})
    paid = {payment.payment_method_id for payment in order.payment_history}
    for method in (*paid, "gift_card_1"):
        change = {"order_id": key, "payment_method_id": method}
        same = {"another_payment_method"} if method in paid and len(paid) == 1 else set()
        if len(paid) == 1:
            assert rules_broken("retail", "modify_pending_order_payment", change, found) == pending | same
    items = {"order_id": key, "item_ids": [order.items[0].item_id], "payment_method_id": "gift_card_1"}
    assert rules_broken("retail", "return_delivered_order_items", items, found) == delivered
    for number in (1, 2):
        exchange = items | {"new_item_ids": ["1"] * number}
        uneven = {"one_new_item_for_each"} if number == 2 else set()
        assert rules_broken("retail", "exchange_delivered_order_items", exchange, found) == delivered | uneven


reservations = sorted(complete("airline").stored["reservations"])


@given(key=st.sampled_from(reservations), more=st.integers(-1, 1), cabin=st.sampled_from(["business", "economy"]))
def test_changes_of_reservations_against_a_naive_reference(key: str, more: int, cabin: str) -> None:
    stored = complete("airline").stored
    reservation: Any = stored["reservations"][key]
    flights: dict[str, Any] = dict(stored["flights"])
    statuses = [flights[flight.flight_number].dates[flight.date].status for flight in reservation.flights]
    flown = bool({"landed", "flying"} & set(statuses))
    old = reservation.created_at <= "2024-05-14T15:00" and reservation.insurance == "no"
    refused = old and reservation.cabin != "business" and set(statuses) != {"cancelled"}
    cancelling = {"flown_reservations_stay"} if flown else set()
    cancelling |= {"when_reservations_can_be_cancelled"} if refused else set()
    assert rules_broken("airline", "cancel_reservation", {"reservation_id": key}) == cancelling

    people = [{"first_name": "Ada"}] * (len(reservation.passengers) + more)
    changed = rules_broken("airline", "update_reservation_passengers", {"reservation_id": key, "passengers": people})
    assert changed == ({"same_number_of_passengers"} if more else set())

    bags = {"reservation_id": key, "total_baggages": reservation.total_baggages + more}
    assert rules_broken("airline", "update_reservation_baggages", bags) == (
        {"bags_are_never_removed"} if more < 0 else set()
    )

    same = [{"flight_number": flight.flight_number, "date": flight.date} for flight in reservation.flights]
    new_cabin = rules_broken(
        "airline", "update_reservation_flights", {"reservation_id": key, "cabin": cabin, "flights": same}
    )
    is_other = cabin != reservation.cabin
    assert new_cabin == ({"flown_reservations_keep_their_cabin"} if flown and is_other else set())
    later = [flight | {"date": "2024-05-30"} for flight in same]
    kept = {"reservation_id": key, "cabin": reservation.cabin, "flights": later}
    basic = reservation.cabin == "basic_economy" and later != same
    assert rules_broken("airline", "update_reservation_flights", kept) == (
        {"basic_economy_keeps_its_dates"} if basic else set()
    )
