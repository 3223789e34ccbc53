"""The worked examples of the tool prompts are about lighthouses; small models copy them into other domains."""

from __future__ import annotations

from generation.seeds.base import Seed

_SUBJECT = "lighthouse"
_TOOLS = {"search_lighthouses", "list_tours", "book_tour"}


def copies_example(text: str, name: str, seed: Seed) -> bool:
    """Whether a title, description or tool (its JSON as `text`, and its `name`) comes from a prompt's example.

    It does if it speaks of the example's subject or has the name of one of its tools, and nothing of the seed speaks of
    that subject.
    """
    if _SUBJECT not in text.casefold() and name not in _TOOLS:
        return False
    own = [seed.name, seed.title, seed.description, *(f"{tool.name} {tool.description}" for tool in seed.tools)]
    return _SUBJECT not in " ".join(own).casefold()
