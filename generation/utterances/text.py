"""Normalizes texts for comparison: words without case, punctuation and typographic variants, and n-grams."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """The words of `text`: runs of letters, digits and underscores, compatibility forms such as full-width
    normalized."""
    # Case folding may yield text that is not in normal form, and vice versa.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKD", text).casefold())
    return _WORD.findall(unicodedata.normalize("NFKC", folded.casefold()))


def plain(text: str) -> str:
    """The words of `text`, separated by single spaces."""
    return " ".join(words(text))


def ngrams(sequence: Sequence[str], size: int) -> Iterator[str]:
    """Every run of `size` words as one string, in order; empty if there are fewer words."""
    return (" ".join(sequence[start : start + size]) for start in range(len(sequence) - size + 1))


def canonical(value: Any) -> str:
    """The canonical spelling of a JSON value: keys sorted, 3.0 as 3, runs of whitespace as one space."""
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
    """A 16-byte digest of a JSON value."""
    return hashlib.blake2b(
        json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"), digest_size=16
    ).digest()
