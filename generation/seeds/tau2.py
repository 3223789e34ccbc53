"""Seeds from τ²-bench's airline and retail: the benchmark's own tools on customers that none of its tasks names."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from core.settings import UserError
from generation.seeds.base import Rows, Seed
from generation.seeds.choice import choose
from generation.seeds.tau2_data import DOMAINS, ENGINE, Tau2Domain, database, tool_specs


class Tau2Seeds:
    """One seed for each of `names` (airline and retail without it), named tau2_airline and tau2_retail.

    Its rows tell `rows_per_kind` stories, drawn by `seed`: row i of each kind is about the customer of row i of users. What
    is generated from these seeds counts as in-domain wherever τ²-bench is the test.
    """

    def __init__(self, names: Sequence[str] | None = None, rows_per_kind: int = 40, seed: int = 0) -> None:
        self.names = names
        self.rows_per_kind = rows_per_kind
        self.seed = seed

    def load(self) -> tuple[Seed, ...]:
        """Raises UserError for an unknown domain, a number of rows below 1, and where inspect-evals is not installed."""
        if not isinstance(self.rows_per_kind, int) or self.rows_per_kind < 1:
            raise UserError(f"rows_per_kind={self.rows_per_kind} was given, but a number of at least 1 is expected")
        return tuple(self._seed(DOMAINS[name]) for name in choose(self.names, DOMAINS, "names"))

    def _seed(self, domain: Tau2Domain) -> Seed:
        rng = Random(f"{self.seed}/{domain.seed}")
        return Seed(
            name=domain.seed,
            description=domain.description,
            source=ENGINE,
            licence="MIT",
            tools=tool_specs(domain),
            engine=ENGINE,
            rows=stories(domain, self.rows_per_kind, rng),
        )


def stories(domain: Tau2Domain, count: int, rng: Random) -> Rows:
    """Up to `count` customers; for each one record of theirs, and one thing of the shared world it could be changed to: a
    flight on a booked route that has seats to sell, another variant of an ordered product."""
    data = database(domain)
    owners = [user for user in data.users.values() if getattr(user, domain.records)]
    users = rng.sample(owners, min(count, len(owners)))
    own = [getattr(data, domain.records)[rng.choice(getattr(user, domain.records))] for user in users]
    kind, offer = ("flights", _flight) if domain.name == "airline" else ("products", _variant)
    return {
        "users": [user.model_dump(mode="json") for user in users],
        domain.records: [record.model_dump(mode="json") for record in own],
        kind: [offer(data, record, rng) for record in own],
    }


def _flight(data: Any, reservation: Any, rng: Random) -> dict[str, Any]:
    """A flight as a search shows it: on one date, with seats and prices."""
    booked = rng.choice(reservation.flights)
    routes = [f for f in data.flights.values() if (f.origin, f.destination) == (booked.origin, booked.destination)]
    dates = [(flight, date) for flight in routes for date, on in flight.dates.items() if on.status == "available"]
    flight, date = rng.choice(dates)
    return {
        **flight.model_dump(mode="json", exclude={"dates"}),
        "date": date,
        **flight.dates[date].model_dump(mode="json"),
    }


def _variant(data: Any, order: Any, rng: Random) -> dict[str, Any]:
    """One variant of an ordered product, with the product's name: not the one that was ordered (no product has only one)."""
    item = rng.choice(order.items)
    product = data.products[item.product_id]
    others = [variant for key, variant in product.variants.items() if key != item.item_id]
    variant = rng.choice([variant for variant in others if variant.available] or others)
    return {"name": product.name, "product_id": product.product_id, **variant.model_dump(mode="json")}
