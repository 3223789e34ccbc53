"""What reads the same is equal: dashes, quotes, spaces and compatibility forms, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.typography import fold, same_values, typed, typed_values

TEXT = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("-\u2010\u2011\u2212\u2019\u202f\u00ad\u200b\uff0d")
)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Kai\u2011Uwe", "Kai-Uwe"),
        ("5\u20137 \u2014 or \u22122", "5-7 - or -2"),
        ("1\u202f234\u00a0kg", "1 234 kg"),
        ("Don\u2019t say \u201cno\u201d", 'Don\'t say "no"'),
        ("S\u00e3o Paulo", "S\u00e3o Paulo"),
    ],
)
def test_typography_is_folded(text: str, plain: str) -> None:
    assert typed(text) == plain
    assert fold(text) == plain


def test_compatibility_forms_are_folded_for_comparison_but_kept_as_typed() -> None:
    text = "\uff21 \u00b2 Sa\u0303o co\u00adop\u200b"
    assert fold(text) == "A 2 S\u00e3o coop"
    assert typed(text) == text


@given(TEXT)
def test_folding_is_idempotent_and_leaves_keyboards_alone(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert typed(typed(text)) == typed(text)
    assert fold(typed(text)) == fold(text)
    ascii_text = text.encode("ascii", "ignore").decode()
    assert fold(ascii_text) == typed(ascii_text) == ascii_text


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ({"name": "Kai\u2011Uwe", "n": 1}, {"n": 1, "name": "Kai-Uwe"}, True),
        ({"tags": ["a\u00a0b", {"x": "\u2019"}]}, {"tags": ["a b", {"x": "'"}]}, True),
        ({"name": "Kai Uwe"}, {"name": "Kai-Uwe"}, False),
        ({"name": "kai"}, {"name": "Kai"}, False),
        ({"n": 1}, {"n": "1"}, False),
        ({"n": 1}, {}, False),
        ({"n": 1}, "n", False),
        ({"n": 1}, ["n"], False),
        (["n"], "n", False),
        ([1, 2], [1], False),
    ],
)
def test_arguments_are_the_same_but_for_their_typography(one: Any, other: Any, equal: bool) -> None:
    assert same_values(one, other) is equal
    assert same_values(other, one) is equal


def test_values_are_typed_at_any_depth() -> None:
    assert typed_values({"a": ["\u2011", {"b": "\u2019"}], "c\u2011": 1}) == {"a": ["-", {"b": "'"}], "c\u2011": 1}
