"""Seeds from τ²-bench's airline and retail: the benchmark's own tools, on customers that none of its tasks names."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from core.settings import UserError
from generation.seeds.base import Rows, Seed
from generation.seeds.choice import choose
from generation.seeds.tau2_data import DOMAINS, ENGINE, Tau2Domain, database, tool_specs
from generation.seeds.tau2_policies import tau2_policy


class Tau2Seeds:
    """One seed for each of `names` (None: airline and retail), named tau2_airline and tau2_retail.

    Each has `rows_per_kind` rows of each kind, sampled with `seed`: row i of each kind belongs to the customer of row i
    of users. Dialogues generated from these seeds count as in-domain for τ²-bench.
    """

    def __init__(self, names: Sequence[str] | None = None, rows_per_kind: int = 40, seed: int = 0) -> None:
        self.names = names
        self.rows_per_kind = rows_per_kind
        self.seed = seed

    def load(self) -> tuple[Seed, ...]:
        """Raises UserError for an unknown domain, `rows_per_kind` below 1, and if inspect-evals is not installed."""
        if not isinstance(self.rows_per_kind, int) or self.rows_per_kind < 1:
            raise UserError(f"rows_per_kind={self.rows_per_kind} was given; expected: an integer of at least 1")
        return tuple(self._seed(DOMAINS[name]) for name in choose(self.names, DOMAINS, "names"))

    def _seed(self, domain: Tau2Domain) -> Seed:
        rng = Random(f"{self.seed}/{domain.seed}")
        return Seed(
            name=domain.seed,
            title=domain.title,
            description=domain.description,
            now=domain.now,
            source=ENGINE,
            licence="MIT",
            tools=tool_specs(domain),
            engine=ENGINE,
            policy=tau2_policy(domain),
            rows=sample_rows(domain, self.rows_per_kind, rng),
        )


def sample_rows(domain: Tau2Domain, count: int, rng: Random) -> Rows:
    """Up to `count` customers; for each, one of their records, and one shared entity that it could be changed to: a
    flight with free seats on a booked route, another variant of an ordered product."""
    data = database(domain)
    owners = [user for user in data.users.values() if getattr(user, domain.records)]
    users = rng.sample(owners, min(count, len(owners)))
    records = [getattr(data, domain.records)[rng.choice(getattr(user, domain.records))] for user in users]
    kind, offer = ("flights", _flight) if domain.name == "airline" else ("products", _variant)
    return {
        "users": [user.model_dump(mode="json") for user in users],
        domain.records: [record.model_dump(mode="json") for record in records],
        kind: [offer(data, record, rng) for record in records],
    }


def _flight(data: Any, reservation: Any, rng: Random) -> dict[str, Any]:
    """A flight as a search returns it: on one date, with seats and prices."""
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
    """A variant of an ordered product other than the ordered one, with the product's name; every product has
    several."""
    item = rng.choice(order.items)
    product = data.products[item.product_id]
    others = [variant for key, variant in product.variants.items() if key != item.item_id]
    variant = rng.choice([variant for variant in others if variant.available] or others)
    return {"name": product.name, "product_id": product.product_id, **variant.model_dump(mode="json")}
