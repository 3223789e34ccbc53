"""The seeded random draws of which the bundled domains consist."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import TypeVar

from faker import Faker

T = TypeVar("T")

FIRST_DAY, TODAY, LAST_DAY = "2025-01-02", "2025-06-30", "2025-12-20"
"""Past events lie before TODAY, planned ones after it; the clock is never read."""


class Draw:
    """A stream of random values: the same seed gives the same values in the same order, on any machine."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self._fake = Faker("en_US")
        self._fake.seed_instance(seed)
        self._used: set[str] = set()

    def people(self, count: int) -> list[str]:
        """Full names, new to this stream."""
        return [self._new(lambda: f"{self._fake.first_name()} {self._fake.last_name()}") for _ in range(count)]

    def cities(self, count: int) -> list[str]:
        """City names, new to this stream."""
        return [self._new(self._fake.city) for _ in range(count)]

    def companies(self, count: int, kinds: Sequence[str]) -> list[str]:
        """Company names like "Harmon Freight", new to this stream."""
        return [self._new(lambda: f"{self._fake.last_name()} {self.pick(kinds)}") for _ in range(count)]

    def titles(self, count: int, *words: Sequence[str]) -> list[str]:
        """Titles of one word from each list, new to this stream."""
        return [self._new(lambda: " ".join(self.pick(choice) for choice in words)) for _ in range(count)]

    def mail(self, name: str) -> str:
        """The e-mail address of a person or company, at a domain reserved for examples."""
        return f"{name.lower().replace(' ', '.')}@example.{self.pick(('com', 'org', 'net'))}"

    def phone(self) -> str:
        """A telephone number from the range reserved for fiction, new to this stream."""
        return self._new(lambda: f"{self.number(201, 989)}-555-{self.number(100, 199):04d}")

    def street(self) -> str:
        return f"{self._fake.building_number()} {self._fake.street_name()}"

    def code(self, pattern: str) -> str:
        """A code, new to this stream: each ? becomes a capital letter, each # a digit."""
        return self._new(lambda: self._fake.bothify(pattern, letters="ABCDEFGHJKLMNPRSTUVWXYZ"))

    def day(self, first: str, last: str) -> str:
        """An ISO date from `first` to `last`, inclusive."""
        start = date.fromisoformat(first)
        return (start + timedelta(days=self.number(0, (date.fromisoformat(last) - start).days))).isoformat()

    def after(self, day: str, fewest: int, most: int) -> str:
        """The ISO date `fewest` to `most` days after `day`; negative numbers count back."""
        return (date.fromisoformat(day) + timedelta(days=self.number(fewest, most))).isoformat()

    def days(self, first: str, last: str) -> int:
        """The number of days from `first` to `last`."""
        return (date.fromisoformat(last) - date.fromisoformat(first)).days

    def time(self, first_hour: int, last_hour: int) -> str:
        """A time of day on the half hour, as HH:MM."""
        return f"{self.number(first_hour, last_hour):02d}:{self.pick(('00', '30'))}"

    def number(self, low: int, high: int) -> int:
        """An integer from `low` to `high`, inclusive."""
        return self._random.randint(low, high)

    def amount(self, low: float, high: float, step: float) -> float:
        """A multiple of `step` from `low` to `high`, to the cent."""
        return round(low + step * self.number(0, int((high - low) / step)), 2)

    def pick(self, options: Sequence[T], weights: Sequence[float] | None = None) -> T:
        return self._random.choices(options, weights)[0]

    def some(self, options: Sequence[T], count: int) -> list[T]:
        """`count` different options."""
        return self._random.sample(options, count)

    def _new(self, draw: Callable[[], str]) -> str:
        while (value := draw()) in self._used:
            pass
        self._used.add(value)
        return value
