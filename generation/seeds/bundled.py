"""Thirteen bundled relational databases: ten to train on, three held out for evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.settings import UserError
from generation.seeds.base import Seed
from generation.seeds.choice import choose
from generation.seeds.domains import (
    animal_shelter,
    car_rental,
    clinic,
    college,
    event_tickets,
    farm_coop,
    film_festival,
    freight,
    gym,
    library,
    museum,
    property_rental,
    repair_shop,
)
from generation.seeds.domains.domain import BundledDomain, build
from generation.seeds.domains.draw import TODAY


def _by_name(*domains: BundledDomain) -> dict[str, BundledDomain]:
    return {domain.name: domain for domain in domains}


TRAINING = _by_name(
    animal_shelter.DOMAIN,
    car_rental.DOMAIN,
    clinic.DOMAIN,
    college.DOMAIN,
    event_tickets.DOMAIN,
    farm_coop.DOMAIN,
    gym.DOMAIN,
    library.DOMAIN,
    museum.DOMAIN,
    property_rental.DOMAIN,
)
HELD_OUT = _by_name(film_festival.DOMAIN, freight.DOMAIN, repair_shop.DOMAIN)


class BundledSeeds:
    """The databases in `names` (None: all), built under `cache` on first use.

    `held_out` selects one of the two sets. Names of the other set are refused, so that training never uses a database
    that evaluation counts as unseen.
    """

    def __init__(self, cache: str | Path, names: Sequence[str] | None = None, held_out: bool = False) -> None:
        self.cache = Path(cache)
        self.names = names
        self.held_out = held_out

    def load(self) -> tuple[Seed, ...]:
        domains, others = (HELD_OUT, TRAINING) if self.held_out else (TRAINING, HELD_OUT)
        names = self.names if isinstance(self.names, Sequence) else ()
        if refused := sorted(set(names) & set(others)):
            why = "not held out, but held_out=true was given" if self.held_out else "held out for evaluation"
            raise UserError(f"names: {', '.join(refused)}: {why}; expected: {', '.join(domains)}")
        return tuple(
            Seed(
                name=name,
                title=domains[name].title or name.replace("_", " "),
                database=build(domains[name], self.cache),
                description=domains[name].description,
                source="bundled",
                now=TODAY,
                licence="Apache-2.0",
                held_out=self.held_out,
            )
            for name in choose(self.names, domains, "names")
        )
