"""Normalisation: what counts as the same text and the same arguments."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.utterances.text import canonical, digest, ngrams, plain, words

PLAIN_WORDS = st.lists(st.text(alphabet="abcdefgh0123456789é", min_size=1, max_size=6), max_size=12)
GAPS = st.text(alphabet=" \t\n.,;:!?()«»—'\"", min_size=1, max_size=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(alphabet="ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet="xyz", max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(st.text())
def test_normal_text_is_normal(text: str) -> None:
    assert words(plain(text)) == words(text)


@given(st.text())
def test_composed_and_decomposed_letters_are_the_same(text: str) -> None:
    assert words(unicodedata.normalize("NFD", text)) == words(unicodedata.normalize("NFC", text))


@given(PLAIN_WORDS, st.data())
def test_case_and_separators_do_not_count(parts: list[str], data: st.DataObject) -> None:
    spelt = data.draw(GAPS)
    for part in parts:
        spelt += (part.upper() if data.draw(st.booleans()) else part) + data.draw(GAPS)
    assert words(spelt) == parts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Straße No. 5", ["strasse", "no", "5"]),
        ("ＡＢＣ １２", ["abc", "12"]),
        ("user_id=raj_7, it's", ["user_id", "raj_7", "it", "s"]),
        ("ﬁnd  the\nCAFÉ!", ["find", "the", "café"]),
        ("…", []),
    ],
)
def test_words_by_hand(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@given(st.lists(st.sampled_from("abc"), max_size=9), st.integers(1, 5))
def test_ngrams_are_all_the_windows(sequence: list[str], size: int) -> None:
    windows = [" ".join(sequence[i:j]) for i in range(9) for j in range(i, 10) if j - i == size and j <= len(sequence)]
    assert list(ngrams(sequence, size)) == windows


def _shuffled(value: Any, data: st.DataObject) -> Any:
    """The same value with keys in another order and some integers as floats."""
    if isinstance(value, dict):
        return {key: _shuffled(value[key], data) for key in data.draw(st.permutations(sorted(value)))}
    if isinstance(value, list):
        return [_shuffled(item, data) for item in value]
    return float(value) if type(value) is int and data.draw(st.booleans()) else value


@given(JSON, st.data())
def test_equal_arguments_have_one_spelling(value: Any, data: st.DataObject) -> None:
    assert canonical(_shuffled(value, data)) == canonical(value)


@given(JSON, JSON)
def test_different_arguments_have_different_spellings(a: Any, b: Any) -> None:
    if repr(_sorted(a)) != repr(_sorted(b)):
        assert canonical(a) != canonical(b)
        assert digest(canonical(a)) != digest(canonical(b))


def _sorted(value: Any) -> Any:
    """A value whose repr distinguishes True from 1 but not the order of keys."""
    if isinstance(value, dict):
        return sorted((key, _sorted(item)) for key, item in value.items()), "object"
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def test_whitespace_in_arguments_does_not_count() -> None:
    assert canonical({"name": " Ann \n Lee", "n": 2.50}) == '{"n": 2.5, "name": "Ann Lee"}'
