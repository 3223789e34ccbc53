"""How names are spelt: in snake_case, in the singular, in the plural, as the words that people say."""

from __future__ import annotations

import re

_WORD_BREAKS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[^A-Za-z0-9]+")


def snake(name: str) -> str:
    """One form for all spellings of a name: userID, user-id and "User Id" are user_id, InvoiceLine is invoice_line."""
    return "_".join(word.lower() for word in _WORD_BREAKS.split(name) if word)


def singular(name: str) -> str:
    """The name of one element of what `name` holds several of: user_ids -> user_id, categories -> category, boxes -> box."""
    lowered = name.lower()
    if lowered.endswith("ies") and len(name) > 4:
        return f"{name[:-3]}y"
    if lowered.endswith(("sses", "shes", "ches", "xes")):
        return name[:-2]
    return name[:-1] if lowered.endswith("s") and not lowered.endswith(("ss", "us", "is")) else name


def plural(name: str) -> str:
    """The name of several of what `name` names, which may be several already: category -> categories, orders -> orders."""
    one = singular(name)
    if one.endswith("y") and one[-2:-1] not in "aeiou":
        return f"{one[:-1]}ies"
    return one + ("es" if one.endswith(("s", "x", "ch", "sh")) else "s")


def words(name: str) -> str:
    """A name as people say it: orderDate -> order date."""
    return snake(name).replace("_", " ")
