"""τ²-bench read without the code under test: its own tools, its raw databases and tasks."""

from __future__ import annotations

from typing import Any

from generation.environments.tau2 import Tau2Environment, Tau2EnvironmentFactory
from generation.scripted.llm import ScriptedLLM
from generation.seeds.tau2_data import DOMAINS, database, tool_specs
from generation.tools.toolset import Toolset


def free_environment(domain: str) -> Tau2Environment:
    of = DOMAINS[domain]
    toolset = Toolset(domain=of.seed, description="", tools=tool_specs(of), engine="tau2")
    return Tau2EnvironmentFactory().for_domain(toolset, ScriptedLLM(), "d0").open()


def booking(user_id: str, card: str, seats: int = 1) -> dict[str, Any]:
    """Arguments of a booking of the first flight with seats on 20 May, paid with `card`."""
    flights = database(DOMAINS["airline"]).flights.values()
    flight = next(f for f in flights if f.dates["2024-05-20"].status == "available")
    price = flight.dates["2024-05-20"].prices["economy"]
    assert flight.dates["2024-05-20"].available_seats["economy"] >= seats
    return {
        "user_id": user_id,
        "origin": flight.origin,
        "destination": flight.destination,
        "flight_type": "one_way",
        "cabin": "economy",
        "flights": [{"flight_number": flight.flight_number, "date": "2024-05-20"}],
        "passengers": [{"first_name": "Ada", "last_name": f"No{seat}", "dob": "1990-01-01"} for seat in range(seats)],
        "payment_methods": [{"payment_id": card, "amount": price * seats}],
        "total_baggages": 0,
        "nonfree_baggages": 0,
        "insurance": "no",
    }


def card_holder() -> tuple[str, str]:
    """A free customer and the id of their credit card."""
    for user in database(DOMAINS["airline"]).users.values():
        for key, method in user.payment_methods.items():
            if method.source == "credit_card":
                return user.user_id, key
    raise AssertionError("no free customer has a credit card")


PERSON = {"first_name": "Bea", "last_name": "Lo", "dob": "1980-02-03"}
