"""Deals from shuffled decks: what number i gets follows from the seed and i alone, and over a deck every choice comes
up in proportion to its weight."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from random import Random
from typing import TypeVar

T = TypeVar("T")

DECK = 20
"""Cards of a deck with weights: over so many numbers in a row, from a multiple of it on, each choice comes up in
proportion to its weight, give or take one."""


def dealt(weights: Mapping[T, float], seed: str, number: int) -> T:
    """The choice of card `number`. Each choice has the probability of its weight, as if it were drawn."""
    return at_place(weights, dealt_place(seed, number))


def dealt_place(seed: str, number: int) -> float:
    """A place from 0 to 1 for choices whose weights are known only later."""
    deck, card = divmod(number, DECK)
    return _places(seed, deck)[card]


def at_place(weights: Mapping[T, float], place: float) -> T:
    """The choice at a place, if each takes the part of its weight. At least one weight is above 0."""
    place *= sum(weights.values())
    chosen = [choice for choice, weight in weights.items() if weight > 0]
    for choice in chosen:
        place -= weights[choice]
        if place < 0:
            return choice
    return chosen[-1]


@lru_cache(maxsize=4096)
def _places(seed: str, deck: int) -> tuple[float, ...]:
    """Numbers from 0 to 1 in random order, one from each of DECK equal parts."""
    rng = Random(f"{seed}/deck {deck}")
    return tuple((part + rng.random()) / DECK for part in rng.sample(range(DECK), DECK))
