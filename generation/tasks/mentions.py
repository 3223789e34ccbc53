"""Whether a text mentions a value, however spelt: equal is what reads as equal.

Both are compared after folding (core.typography), numbers by value, dates and times as such, a fraction also as a
percentage. `mentions_value` decides whether a user was told a value, `states` whether a goal or a message gives one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from core.typography import fold, typed
from generation.specs.json_values import leaves
from generation.tasks.facts import COUNT, Date, Fact, Knowledge, as_fraction, facts


def literals(value: Any) -> Iterator[str]:
    """The strings and numbers in a call's arguments, as text. Booleans are left out, since users do not say them, and
    so are the placeholders of a plan, whose values are looked up."""
    for _, leaf in leaves(value):
        if isinstance(leaf, str):
            if leaf.strip() and not leaf.startswith("${"):
                yield leaf
        elif isinstance(leaf, int | float) and not isinstance(leaf, bool):
            yield repr(leaf)


# A separate number: not inside an identifier (A12), a date (2025-03-14), a time or a version.
_SIGNED = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")
_START = r"(?<!\w)(?<!\d[-/:.])(?<![A-Za-z]-)"
_ALONE = re.compile(
    rf"{_START}{_SIGNED.pattern}(?!\d)(?![-/:.]\d)(?!(?:st|nd|rd|th|k)\b)"
    r"(?!\s?(?:[ap]\.?m\b|o'clock))",
    re.IGNORECASE,
)
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\.?"
)
# Numbers that count nothing: a day of a month, with its year, and the number of a line in a list.
_NO_NUMBER = re.compile(
    rf"\b{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?\b(?:,? \d{{4}}\b)?|\b\d{{1,2}}(?:st|nd|rd|th)? (?:of )?{_MONTH}\b(?:,? \d{{4}}\b)?"
    r"|^\s*\d{1,2}[.)](?=\s)",
    re.IGNORECASE | re.MULTILINE,
)
_PERCENTAGE = re.compile(rf"{_START}({_SIGNED.pattern})\s?(?:%|percent\b|per cent\b)", re.IGNORECASE)
# Thousands set apart by a narrow or fixed space or an apostrophe ("1 234.50"), or by dots before a decimal comma
# ("1.234,50"). "1.234" and "12,50" alone can be read in two ways and keep their English one.
_GROUPED = re.compile(
    r"(?<![\d.,])\d{1,3}(?:(?:[\u00a0\u2007\u2009\u202f'\u2019]\d{3})+(?:[.,]\d+)?|(?:\.\d{3})+,\d{1,2})(?!\d)"
)
# With plain spaces it may also be several numbers, which are then read as well.
_SPACED = re.compile(r"(?<![\d.,])\d{1,3}(?: \d{3})+(?:\.\d{1,2}|(?<= \d{3} \d{3}))(?![\d.,])")
_EXACT_DIGITS = 5
"""Numbers with more decimals are computed ones."""

_RANGE_DASH = re.compile("[\u2013-\u2015]")
_MINUS = re.compile("(?<![\\w)])[\u2013-\u2015](?=\\d)")


def mentions_value(text: str, value: str) -> bool:
    """Whether `text` contains `value`: a number by its value (1,200.50 is 1200.5; three is 3; 15 % is 0.15), a date or
    time in any spelling that leaves nothing out (June 15, 2025 at 9:00 AM), anything else as complete words in any
    case, in_progress also as "in progress"."""
    reading, sought = _read(text), _seek(value)
    if sought.number is not None:
        return reading.has_number(sought.number)
    return (
        reading.has_words(sought.words)
        or ("_" in sought.words and reading.has_words(sought.words.replace("_", " ")))
        or (sought.is_special and reading.has_special(sought))
    )


@dataclass(frozen=True)
class _Sought:
    """A value to be found: a number, or words that may also be a percentage, a date, a time, or a date with a time."""

    words: str
    number: float | None = None
    percentage: float | None = None
    dates: tuple[Date, ...] = ()
    time: float | None = None

    @property
    def is_special(self) -> bool:
        return bool(self.dates) or self.time is not None or self.percentage is not None


@lru_cache(maxsize=4096)
def _seek(value: str) -> _Sought:
    plain = " ".join(fold(value).casefold().split())
    if _SIGNED.fullmatch(plain):
        return _Sought(plain, number=_number(plain))
    if percentage := _PERCENTAGE.fullmatch(plain):
        return _Sought(plain, percentage=as_fraction(percentage[1]))
    moments = _moments(value)
    dates = [fact.value for fact in moments if isinstance(fact.value, tuple)]
    times = [fact.value for fact in moments if isinstance(fact.value, float | int)]
    if len(dates) > 1 or len(times) > 1:
        return _Sought(plain)
    return _Sought(plain, dates=dates[0] if dates else (), time=times[0] if times else None)


_FRACTION_OR_ZONE = re.compile(r"(?<=:\d\d)(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?$", re.IGNORECASE)


def _moments(value: str) -> list[Fact]:
    """The dates and times that a value consists of; empty if there is anything else in it."""
    rest = _FRACTION_OR_ZONE.sub("", fold(value).strip())
    found = list(facts(rest)) if len(rest) <= 40 else []
    for fact in found:
        rest = rest.replace(fact.text, "", 1)
    only_moments = all(fact.kind in ("date", "time") for fact in found) and rest.strip(" ,") in ("", "at")
    return found if only_moments else []


class _Reading:
    """What a text says, read when it is asked for."""

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def words(self) -> str:
        return " ".join(fold(self._text).casefold().split())

    @cached_property
    def _plain(self) -> str:
        """The text with its numbers in English grouping. A dash between numbers (5–7) separates them."""
        text = _GROUPED.sub(_ungrouped, self._text)
        return text if text.isascii() else typed(_RANGE_DASH.sub("~", _MINUS.sub("-", text)))

    @cached_property
    def _numbers(self) -> frozenset[float]:
        text = _NO_NUMBER.sub(" ", self._plain).replace("_", " ")
        spaced = [match.replace(" ", "") for match in _SPACED.findall(text)]
        return frozenset(map(_number, [*_ALONE.findall(text), *spaced]))

    @cached_property
    def _percentages(self) -> frozenset[float]:
        return frozenset(map(as_fraction, _PERCENTAGE.findall(self._plain)))

    @cached_property
    def _moments(self) -> tuple[Fact, ...]:
        return tuple(fact for fact in facts(self._text) if fact.kind in ("date", "time"))

    def has_words(self, words: str) -> bool:
        # Compiling an expression per value costs more than everything else here, so only after a cheap test.
        return words in self.words and re.search(rf"(?<!\w){re.escape(words)}(?!\w)", self.words) is not None

    def has_number(self, number: float) -> bool:
        if number in self._numbers or (0 < abs(number) < 1 and number in self._percentages):
            return True
        if round(number, _EXACT_DIGITS) != number:  # an average, which people round
            return any(known % 1 and round(number, n) == known for known in self._numbers for n in range(2, 6))
        # "one" is mostly not a number: "one more thing"
        return number != 1 and number in range(len(COUNT)) and self.has_words(COUNT[int(number)])

    def has_special(self, sought: _Sought) -> bool:
        if sought.percentage is not None:
            return sought.percentage in self._percentages
        if not sought.dates:
            return any(fact.kind == "time" and fact.value == sought.time for fact in self._moments)
        return any(
            isinstance(fact.value, tuple)
            and any(_gives(day, wanted) for day in fact.value for wanted in sought.dates)
            and self._has_time(sought.time, place)
            for place, fact in enumerate(self._moments)
        )

    def _has_time(self, time: float | None, date: int) -> bool:
        """Whether the time goes with the date at this place in `_moments`: no other date stands between them. Midnight
        need not be said."""
        if not time:
            return True
        for facts_nearby in (self._moments[date + 1 :], reversed(self._moments[:date])):
            for fact in facts_nearby:
                if fact.kind == "date":
                    break
                if fact.value == time:
                    return True
        return False


def _gives(day: Date, wanted: Date) -> bool:
    return day[1:] == wanted[1:] and wanted[0] in (0, day[0])


@lru_cache(maxsize=256)
def _read(text: str) -> _Reading:
    return _Reading(text)


def _ungrouped(match: re.Match[str]) -> str:
    number = re.sub(r"[^\d.,]", "", match.group())
    return number.replace(".", "").replace(",", ".") if "," in number else number


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def states(text: str, literal: str) -> bool:
    """Whether `text` states the value as a user would: mentions it, or gives a date without its year."""
    if mentions_value(text, literal):
        return True
    moments = _moments(literal)
    if not moments:
        return False
    knowledge = Knowledge()
    knowledge.learn(text)
    return all(knowledge.knows(moment) for moment in moments)
