"""Titles and descriptions of domains by rule: from a file's name, or from the names of tools and tables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from core.messages import ToolSpec
from generation.specs.naming import entity_words, verb
from generation.specs.spelling import plural, singular, snake

_GENERIC = {"tool", "tools", "function", "functions", "seed", "seeds", "data", "database", "db", "test", "tests"}
_GENERIC |= {"sample", "example", "domain", "my", "tmp", "new", "api", "sqlite", "nemotron"}
_HEX = re.compile(r"[0-9a-f]{8,}")
_MAX_NAMED = 5
"""Nouns that a description lists."""


def readable(name: str) -> str:
    """A name as words, without those that say nothing: "weather_tools" -> "weather"; empty if it does not read as a
    name, as hashes and numbers do not."""
    words = [word for word in snake(name).split("_") if word and word not in _GENERIC]
    return " ".join(words) if all(map(_is_word, words)) else ""


def _is_word(text: str) -> bool:
    """Whether people could pronounce it: letters with a vowel among them, not hexadecimal digits."""
    return text.isalpha() and not _HEX.fullmatch(text) and (len(text) < 4 or bool(re.search(r"[aeiouy]|\W", text)))


def tool_nouns(tools: Sequence[ToolSpec]) -> list[str]:
    """What the tools are about, in the singular, the most frequent first: flight, booking; a tool's verb if its name
    has no noun."""
    return _most_frequent(" ".join(entity_words(tool.name)) or verb(tool.name) for tool in tools)


def table_nouns(tables: Iterable[str]) -> list[str]:
    """What the rows of tables are, in the singular and in their order: InvoiceLines -> invoice line."""
    return _most_frequent(singular(snake(name)).replace("_", " ") for name in tables)


def _most_frequent(names: Iterable[str]) -> list[str]:
    return [noun for noun, _ in Counter(filter(None, map(readable, names))).most_common()]


def title_of(name: str, nouns: Sequence[str]) -> str:
    """The title of a domain with that name that is about these: its name if that reads as one, else "flight and
    booking", as in "the flight and booking service"."""
    return readable(name) or " and ".join(nouns[:2]) or "general"


def description_of(nouns: Sequence[str]) -> str:
    """One sentence about a domain of these; empty without any."""
    *others, last = [plural(noun) for noun in nouns[:_MAX_NAMED]] or [""]
    listed = f"{', '.join(others)} and {last}" if others else last
    return f"It works with {listed}." if listed else ""
