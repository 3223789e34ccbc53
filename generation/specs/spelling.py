"""Spellings of a name: snake_case, singular, plural, and as separate words."""

from __future__ import annotations

import re

_WORD_BREAKS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[^A-Za-z0-9]+")


def snake(name: str) -> str:
    """The snake_case form of any spelling: userID, user-id, "User Id" -> user_id; InvoiceLine -> invoice_line."""
    return "_".join(word.lower() for word in _WORD_BREAKS.split(name) if word)


def singular(name: str) -> str:
    """The singular of a plural name: user_ids -> user_id, categories -> category, boxes -> box."""
    lowered = name.lower()
    if lowered.endswith("ies") and len(name) > 4:
        return f"{name[:-3]}y"
    if lowered.endswith(("sses", "shes", "ches", "xes")):
        return name[:-2]
    return name[:-1] if lowered.endswith("s") and not lowered.endswith(("ss", "us", "is")) else name


def plural(name: str) -> str:
    """The plural of a name, which may already be one: category -> categories, orders -> orders."""
    stem = singular(name)
    if stem.endswith("y") and stem[-2:-1] not in "aeiou":
        return f"{stem[:-1]}ies"
    return stem + ("es" if stem.endswith(("s", "x", "ch", "sh")) else "s")


def words(name: str) -> str:
    """A name as separate words: orderDate -> order date."""
    return snake(name).replace("_", " ")
