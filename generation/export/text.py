"""Texts as they are compared: words without case, punctuation and typographic variants, and runs of words."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """The words of `text`: runs of letters, digits and underscores, full-width and other compatibility forms made plain."""
    # Folding case may bring up forms that are not normal, and the other way round.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKD", text).casefold())
    return _WORD.findall(unicodedata.normalize("NFKC", folded.casefold()))


def plain(text: str) -> str:
    """The words of `text` with one space between them."""
    return " ".join(words(text))


def ngrams(sequence: Sequence[str], size: int) -> Iterator[str]:
    """Every run of `size` words as one string, in order; none where there are fewer words."""
    return (" ".join(sequence[start : start + size]) for start in range(len(sequence) - size + 1))


def canonical(value: Any) -> str:
    """A JSON value in one spelling: keys sorted, 3.0 as 3, runs of white space as one space."""
    return json.dumps(_canonical(value), sort_keys=True, ensure_ascii=False)


def _canonical(value: Any) -> Any:
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return value


def digest(value: Any) -> bytes:
    """16 bytes that stand for a JSON value."""
    return hashlib.blake2b(
        json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"), digest_size=16
    ).digest()
