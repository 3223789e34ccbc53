"""Whether a text mentions a value: by hand, and with properties of numbers, amounts and words."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.tasks.mentions import mentions_value


@pytest.mark.parametrize(
    ("text", "value", "mentioned"),
    [
        ("It costs 1,200.50 now.", "1200.5", True),
        ("It costs $1200.5.", "1200.50", True),
        ("It costs 1200.", "1200.5", False),
        ("Numbers 1,2,3.", "2", True),
        ("Numbers 1,234,567.", "234", False),
        ("The balance is -5.", "-5", True),
        ("The balance is -5.", "5", False),
        ("Rooms 5-7.", "-7", False),
        ("Due on 2025-03-14.", "3", False),
        ("Due on 2025-03-14.", "2025-03-14", True),
        ("Call 555-0142.", "142", False),
        ("At 10:30.", "30", False),
        ("It weighs 5kg.", "5", True),
        ("Seat A12.", "12", False),
        ("Your ticket HX-80 is ready.", "80", False),
        ("It is on March 14, 2025.", "14", False),
        ("It is on March 14, 2025.", "2025", False),
        ("On 14 March it opens.", "14", False),
        ("We open at 9 am.", "9", False),
        ("The 4th one.", "4", False),
        ("Towns:\n3. Bonn", "3", False),
        ("About 12k people.", "12", False),
        ("It takes 5km.", "5", True),
        ("It costs _400_ euros.", "400", True),
        ("On average 86.67 euros.", "86.666667", True),
        ("On average 86.7 euros.", "86.666667", False),
        ("On average 87 euros.", "86.666667", False),
        ("It costs 86.67.", "86.67", True),
        ("You may go: 14 seats.", "14", True),
        ("Version 1.2.3.", "2.3", False),
        ("It is invoice #17 (open).", "17", True),
        ("Ask ADA  moreno today.", "Ada Moreno", True),
        ("Ask Ada\nMoreno.", "Ada Moreno", True),
        ("Ask Ada Morenov.", "Ada Moreno", False),
        ("The status is reopened.", "open", False),
        ("The status is open.", "open", True),
        ("Nothing (none) found", "(none)", True),
        ("STRASSE", "straße", True),
        ("Its lanes are 10,20,30.", "10,20,30", True),
        ("Its lanes are 1,2.", "1,2", True),
        ("There are 12 lanes.", "1,2", False),
        ("It costs 1200.", "1,200", True),
        ("", "x", False),
    ],
)
def test_mentions_by_hand(text: str, value: str, mentioned: bool) -> None:
    assert mentions_value(text, value) is mentioned


@given(
    number=st.integers(-(10**9), 10**9),
    other=st.integers(-(10**9), 10**9),
    after=st.sampled_from([".", ",", " kg", "!", ""]),
)
def test_a_number_is_mentioned_by_value_in_any_grouping(number: int, other: int, after: str) -> None:
    for written in (str(number), f"{number:,}", f"{number}.0", f"{number:,}.00"):
        text = f"We found {written}{after} as of today"
        assert mentions_value(text, str(number))
        assert mentions_value(text, repr(float(number)))
        assert mentions_value(text, str(other)) is (other == number)


AMOUNT = st.decimals(-99999, 99999, places=2)


@given(value=AMOUNT, other=AMOUNT)
def test_amounts_are_mentioned_with_or_without_separators_and_zeros(value: Decimal, other: Decimal) -> None:
    for written in (f"{value}", f"{value:,}"):
        assert mentions_value(f"The total is {written}.", repr(float(value)))
        assert mentions_value(f"The total is {written}.", repr(float(other))) is (value == other)


WORD = st.text("abcdefgXYZ", min_size=1, max_size=8)


@given(words=st.lists(WORD, min_size=1, max_size=4), before=WORD, after=WORD)
def test_words_are_mentioned_only_complete_in_any_case_and_spacing(words: list[str], before: str, after: str) -> None:
    value = " ".join(words)
    assert mentions_value(f"{before}, {'  '.join(words).swapcase()}; {after}", value)
    assert not mentions_value(f"{before}{value}{after}", value) or value.casefold() in f"{before} {after}".casefold()
