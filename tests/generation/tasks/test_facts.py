"""Facts in text: all spellings of a value are equal, and no other value is."""

from __future__ import annotations

from datetime import date, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.tasks.facts import Knowledge, facts

DATES = (
    "{:%Y-%m-%d}",
    "{:%d/%m/%Y}",
    "{:%m/%d/%Y}",
    "{:%d.%m.%Y}",
    "{:%B %d, %Y}",
    "{:%d %B %Y}",
    "{:%b. %d %Y}",
    "{:%dth of %b}",
)
TIMES = ("{:%H:%M}", "{:%H:%M:00}", "{:%I:%M %p}", "{:%I:%M p.m.}")


def known(*texts: str) -> Knowledge:
    knowledge = Knowledge()
    for text in texts:
        knowledge.learn(text)
    return knowledge


def unknown(message: str, *texts: str) -> list[str]:
    """The facts in `message` that none of `texts` states."""
    knowledge = known(*texts)
    return [fact.text for fact in facts(message) if not knowledge.knows(fact)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It costs 12.50 or 1,200 in all.", [("number", 12.5), ("number", 1200.0)]),
        ("Mail a.b+c@x-y.org.", [("email", "a.b+c@x-y.org")]),
        ("Order ORD-1042, seat A12", [("identifier", "ord1042"), ("identifier", "a12")]),
        ("on 3 March 2025 at 9 am", [("date", ((2025, 3, 3),)), ("time", 540)]),
        ("Sept. 5th", [("date", ((0, 9, 5),))]),
        ("4/3/2025", [("date", ((2025, 4, 3), (2025, 3, 4)))]),
        ("at 12:05 a.m. or 12:05 pm", [("time", 5), ("time", 725)]),
        ("2025-03-14T10:30:00", [("date", ((2025, 3, 14),)), ("time", 630)]),
        ("one or two things, I may well say", []),
        ("you may 3 times", [("number", 3.0)]),
        ("1. look up 7\n2) book it (3) pay", [("number", 7.0)]),
        ("the 14th, 555-0142", [("number", 14.0), ("number", 555.0), ("number", 142.0)]),
    ],
)
def test_the_facts_in_a_text(text: str, found: list[tuple[str, object]]) -> None:
    assert [(fact.kind, fact.value) for fact in facts(text)] == found


@given(st.dates(date(2000, 1, 1), date(2099, 12, 31)), st.sampled_from(DATES), st.sampled_from(DATES))
def test_a_date_is_known_in_every_spelling(day: date, one: str, other: str) -> None:
    first, second = one.format(day), other.format(day)
    assert unknown(f"It is for {first}, please.", f"The visit of {second} was moved.") == []


@given(st.dates(date(2000, 1, 1), date(2099, 12, 31)), st.dates(date(2000, 1, 1), date(2099, 12, 31)))
def test_another_date_is_unknown(day: date, other: date) -> None:
    text = f"{day:%d %B %Y}"
    assert (unknown(text, f"{other:%Y-%m-%d}") == []) == (day == other)


@given(st.times(), st.sampled_from(TIMES), st.sampled_from(TIMES))
def test_a_time_is_known_in_every_spelling(moment: time, one: str, other: str) -> None:
    moment = moment.replace(hour=moment.hour % 12 + 12) if "p.m." in one + other else moment
    first, second = one.format(moment), other.format(moment)
    assert unknown(f"At {first}", f"from {second} on") == []
    assert unknown("At 3:17", "from 4:17 on", "page 3 and 18") == ["3:17"]


@given(st.integers(2, 10**7), st.integers(2, 10**7))
def test_a_number_is_known_by_its_value(number: int, other: int) -> None:
    assert unknown(f"Give me {number:,} of them", f"there are {number}") == []
    assert (unknown(f"number {number}", f"there are {other:,}") == []) == (number == other)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("ord-1042", "Order ORD 1042"),
        ("ORD1042", "order ORD_1042."),
        ("my 3 dogs", "She has three dogs"),
        ("12.50", "it costs $12.5"),
        ("A.B.C.D.E@X.ORG", "write to a.b.c.d.e@x.org"),
        ("the 14th", "2025-03-14"),
        ("the 12", "seat A12"),
    ],
)
def test_equal_spellings(message: str, text: str) -> None:
    assert unknown(message, text) == []


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("A13", "seat A12"),
        ("ada@x.org", "ada@y.org"),
        ("1043", "ORD-1042"),
        ("13", "12"),
        ("2", "2,000"),
        ("5 May", "2025-05-06"),
    ],
)
def test_different_values(message: str, text: str) -> None:
    assert unknown(message, text) == [message]
