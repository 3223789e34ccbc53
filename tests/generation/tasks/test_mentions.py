"""Whether a text mentions a value: every way to write it counts, and no other value does."""

from __future__ import annotations

from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.tasks.mentions import literals, mentions_value, states

DATES = ("{:%Y-%m-%d}", "{:%d/%m/%Y}", "{:%d.%m.%Y}", "{:%B %d, %Y}", "{:%d %B %Y}", "{:%b. %d %Y}", "{:%A, %B %d, %Y}")
TIMES = ("{:%H:%M}", "{:%H:%M:%S}", "{:%I:%M %p}", "{:%I:%M %p}")
TYPOGRAPHIC = str.maketrans({"-": "\u2011", " ": "\u202f", "'": "\u2019"})
DAYS = st.dates(date(1950, 1, 1), date(2099, 12, 31))
MINUTES = st.datetimes(datetime(1950, 1, 1), datetime(2099, 12, 31)).map(lambda t: t.replace(second=0, microsecond=0))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("It is on June 15, 2025.", "2025-06-15"),
        ("It is on 2025\u201106\u201115.", "2025-06-15"),
        ("It is on Sunday, the 15th of June 2025", "2025-06-15"),
        ("2025/06/15", "2025-06-15"),
        ("the visit at 9:00\u202fAM", "09:00"),
        ("the visit at 9 a.m.", "09:00:00"),
        ("from 14:30 on", "2:30 PM"),
        ("June 15, 2025 at 9:00 AM", "2025-06-15T09:00:00"),
        ("9:00 AM on June 15, 2025", "2025-06-15 09:00:00"),
        ("June 15, 2025, from 9:00 AM to 10:30 AM", "2025-06-15T10:30:00Z"),
        ("invoiced on January 1, 2009", "2009-01-01 00:00:00"),
        ("a discount of 15\u202f%", "0.15"),
        ("a discount of 15%", "15"),
        ("a discount of 15 %", "15%"),
        ("a share of 12.3 percent", "0.123"),
        ("1\u202f234.50 EUR", "1234.5"),
        ("1\u00a0234,50 EUR", "1234.5"),
        ("1.234,50 EUR", "1234.5"),
        ("1 234.50 EUR", "1234.5"),
        ("CHF 1\u2019234.50", "1234.5"),
        ("$1,234.50", "1234.5"),
        ("1 234 567 people", "1234567"),
        ("a balance of \u22125", "-5"),
        ("for ages 5\u20137", "5"),
        ("for ages 5\u20137", "7"),
        ("order LLH\u20112521", "LLH-2521"),
        ("call 522\u2011555\u20110154", "522-555-0154"),
        ("Kai\u2010Uwe\u00a0Lang", "kai-uwe lang"),
        ("\u201cDon\u2019t Stop\u201d", "Don't Stop"),
        ("\uff21\uff22\uff23\uff0d\uff11", "ABC-1"),
        ("there are three of them", "3"),
        ("**09:00**", "09:00"),
        ("the cat is in treatment", "in_treatment"),
        ("the cat is in_treatment", "in_treatment"),
    ],
)
def test_a_value_is_mentioned_in_every_spelling(text: str, value: str) -> None:
    assert mentions_value(text, value)
    assert states(text, value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("It is on June 16, 2025.", "2025-06-15"),
        ("It is on June 15, 2024.", "2025-06-15"),
        ("It is on June 15.", "2025-06-15"),
        ("at 9:00 PM", "09:00"),
        ("at 9:00 AM", "21:00"),
        ("at 9:00", "21:00"),
        ("0:03:45 long", "00:03:46"),
        ("June 15, 2025 at 10:00, June 16, 2025 at 9:00", "2025-06-15T09:00:00"),
        ("June 15, 2025", "2025-06-15T09:00:00"),
        ("9:00 AM", "2025-06-15T09:00:00"),
        ("12000 or 1\u202f2000", "1200"),
        ("1 2000", "12000"),
        ("1200", "12000"),
        ("a discount of 1.5 %", "0.15"),
        ("a discount of 150 %", "1.5"),
        ("a discount of 0.15", "15"),
        ("15", "5"),
        ("1\u202f234.50 EUR", "234.5"),
        ("1.234,50 EUR", "1.234"),
        ("1.234 EUR", "1234"),
        ("12,50 EUR", "12.5"),
        ("a balance of 5", "-5"),
        ("one more thing", "1"),
        ("you can be 100 % sure", "1"),
        ("thirty of them", "3"),
        ("order LLH\u201125210", "LLH-2521"),
        ("2\u00bd hours", "21"),
        ("Kai Uwe Lang", "Kai-Uwe Lang"),
    ],
)
def test_another_value_is_not_mentioned(text: str, value: str) -> None:
    assert not mentions_value(text, value)


@given(DAYS, DAYS, st.sampled_from(DATES))
def test_a_date_is_mentioned_by_its_own_spellings_alone(day: date, other: date, form: str) -> None:
    text = f"You come on {form.format(day)}, I see."
    assert mentions_value(text, f"{day:%Y-%m-%d}")
    assert mentions_value(text.translate(TYPOGRAPHIC), f"{day:%Y-%m-%d}")
    swapped = (other.year, other.day, other.month) == (day.year, day.month, day.day) and "/" in text + form
    dotted = (other.year, other.day, other.month) == (day.year, day.month, day.day) and form == "{:%d.%m.%Y}"
    assert mentions_value(text, f"{other:%Y-%m-%d}") == (day == other or swapped or dotted)


@given(MINUTES, MINUTES, st.sampled_from(DATES), st.sampled_from(TIMES), st.sampled_from((" at ", ", ", " from ")))
def test_a_date_with_its_time_is_mentioned(
    moment: datetime, other: datetime, day: str, time: str, between: str
) -> None:
    text = f"Booked: {day.format(moment)}{between}{time.format(moment)}."
    for value in (f"{moment:%Y-%m-%d %H:%M:%S}", f"{moment:%Y-%m-%dT%H:%M}", f"{moment:%Y-%m-%dT%H:%M:%S.000Z}"):
        assert mentions_value(text, value)
        assert mentions_value(text.translate(TYPOGRAPHIC), value)
    assert mentions_value(text, f"{moment:%H:%M}")
    same_minute = (moment.hour, moment.minute) == (other.hour, other.minute)
    assert mentions_value(text, f"{other:%H:%M:00}") == same_minute
    if not same_minute and (other.hour or other.minute):
        assert not mentions_value(text, f"{moment:%Y-%m-%d}T{other:%H:%M:00}")


@given(st.integers(1, 9999), st.integers(1, 9999))
def test_a_fraction_is_mentioned_as_a_percentage(number: int, other: int) -> None:
    for written in (f"{number / 100:g}%", f"{number / 100:g} %", f"{number / 100:g}\u202fpercent"):
        assert mentions_value(f"It is {written} off", repr(number / 10_000))
        expected = number == other or other / 10_000 == number / 100  # "0.5 %" also mentions the number 0.5
        assert mentions_value(f"It is {written} off", repr(other / 10_000)) == expected


@given(st.integers(1000, 10**9), st.sampled_from("\u00a0\u2009\u202f'\u2019"), st.integers(0, 10**9))
def test_thousands_are_set_apart_in_many_ways(number: int, separator: str, other: int) -> None:
    text = f"{number:,} EUR".replace(",", separator)
    assert mentions_value(f"It costs {text}", str(number))
    assert mentions_value(f"It costs {text}", str(other)) == (other == number)
    assert mentions_value(f"It costs {number:,}.50 EUR".replace(",", separator), f"{number}.5")


@pytest.mark.parametrize(
    ("text", "value", "stated"),
    [
        ("the top two, please", "2", True),
        ("one more thing", "1", False),
        ("number 1.", "1", True),
        ("number 12", "1", False),
        ("in  OSLO!", "Oslo", True),
        ("in Osloway", "Oslo", False),
        ("at 3 pm", "15:00", True),
        ("at 3 pm", "16:00", False),
        ("it is 1,200.50", "1200.5", True),
        ("order A-1 of 2025-03-14", "order A-1 of 14 March", False),
        ("on 14 March, please", "2025-03-14", True),
        ("on 15 March, please", "2025-03-14", False),
        ("14 March at 3 pm", "2025-03-14T15:00:00", True),
        ("at 2 pm or at 12 pm, please", "2:00 PM, 12:00 PM", True),
        ("at 2 pm or at 1 pm, please", "2:00 PM, 12:00 PM", False),
        ("mark it as in progress", "in_progress", True),
        ("mark it as progressing", "in_progress", False),
    ],
)
def test_whether_a_text_states_a_value(text: str, value: str, stated: bool) -> None:
    assert states(text, value) is stated


def test_the_literals_of_a_call_are_the_values_a_user_must_give() -> None:
    arguments = {"a": 3, "b": [1.5, {"c": "Oslo", "d": True}], "e": "${0.id}", "f": None, "g": " "}
    assert list(literals(arguments)) == ["3", "1.5", "Oslo"]
