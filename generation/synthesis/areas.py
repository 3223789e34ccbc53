"""A fixed list of areas of life, from which ideas for databases are drawn: a model that is asked for services without
them invents the same few shops."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from random import Random


@cache
def areas() -> tuple[str, ...]:
    """The areas of areas.txt, one a line."""
    return tuple((Path(__file__).parent / "areas.txt").read_text(encoding="utf-8").splitlines())


def drawn(count: int, seed: int) -> list[str]:
    """`count` areas in an order that depends on the seed; each one before any comes again."""
    order = Random(f"{seed}/areas").sample(areas(), len(areas()))
    return [order[number % len(order)] for number in range(count)]
