"""The words of utterances and of tools as they are compared: without case and plural, one word for all that mean the
same."""

from __future__ import annotations

import re

from core.typography import fold

FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        "the a an your my it its is are be been that this to of and or on off in at for with device if whether you any can i",
    )
)
"""Words that tell no tools apart."""
_EQUAL = {"phone": "device", "access": "permission", "cell": "cellular"}


def stems(text: str) -> tuple[str, ...]:
    """The words of a text in its order, as stems."""
    plain = fold(text).casefold().replace("wi-fi", "wifi")
    return tuple(map(stem, re.findall(r"[a-z0-9]+", plain)))


def stem(word: str) -> str:
    """A word in lower case without its plural's "s", or the word that stands for it."""
    singular = word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
    return _EQUAL.get(singular, singular)
