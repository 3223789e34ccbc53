"""Facts in text: numbers, dates, times, addresses and identifiers, however spelt, and which of them a reader knows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from core.typography import fold

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
COUNT = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
# Lower-case "may 3" is more likely a verb.
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|(?-i:May)|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_KINDS = {
    "email": r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    "iso": r"(?<![\w-])\d{4}(?:-\d{1,2}-\d{1,2}(?![\d-])|/\d{1,2}/\d{1,2}(?![\d/]))",
    "named": rf"(?<!\w)(?:{_DAY}\s+(?:of\s+)?{_MONTH}|{_MONTH}\s+{_DAY}(?![\w:]))(?:,?\s+\d{{4}}(?!\d))?",
    "slashed": r"(?<![\w/.])\d{1,2}[/.]\d{1,2}[/.]\d{4}(?!\d)",
    "time": r"(?:(?<=\d)T)?(?<![\d:])\d{1,2}(?::\d{2}){1,2}(?![\d:])(?:\s*[ap]\.?m\b)?|(?<![\w:.])\d{1,2}\s*[ap]\.?m\b",
    "grouped": r"(?<![\w.])\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\w)",
    "percentage": r"(?<![\w.])\d+(?:\.\d+)?\s?%",
    "token": r"\w+(?:[-_/.]\w+)*",
}
_FACT = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _KINDS.items()), re.IGNORECASE)
_DIGIT = re.compile(r"\d")
_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?")
_GROUPING = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
# "1. Find …" and "(2) change …" number the requests of a message; they state no fact.
_ENUMERATOR = re.compile(r"(?m)^\s*\(?\d{1,2}[.)]\s|\(\d{1,2}\)\s")

Kind = Literal["email", "date", "time", "number", "identifier"]
Date = tuple[int, int, int]
"""(year, month, day); year 0 if it is not mentioned."""


@dataclass(frozen=True)
class Fact:
    """A fact as written (`text`), and its normalised `value`: a number, a time in minutes since midnight, the
    lower-case letters and digits of an address or identifier, or the one or two dates that the text can mean."""

    kind: Kind
    text: str
    value: float | str | tuple[Date, ...]


def facts(text: str) -> Iterator[Fact]:
    """Every fact in `text`, in order. Number words do not count: "one or two things" states no fact."""
    text = fold(text)
    if not _DIGIT.search(text) and "@" not in text:
        return
    for found in _FACT.finditer(_ENUMERATOR.sub(" ", text)):
        kind, part = found.lastgroup, found.group()
        if kind == "email":
            yield Fact("email", part, part.casefold())
        elif kind in {"iso", "named", "slashed"}:
            yield Fact("date", part, _dates(part))
        elif kind == "time":
            yield Fact("time", part, _minutes(part))
        elif kind == "token" and part[0].isalpha() and any(character.isdigit() for character in part):
            yield Fact("identifier", part, "".join(_pieces(part)))
        elif part[0].isdigit():
            for number in _NUMBER.findall(part):
                yield Fact("number", part, _value(number))


def _dates(text: str) -> tuple[Date, ...]:
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    if re.match(r"\d{4}[-/]", text):
        return ((numbers[0], numbers[1], numbers[2]),)
    if len(numbers) == 3:  # 3/4/2025: the third of April or the fourth of March
        return ((numbers[2], numbers[0], numbers[1]), (numbers[2], numbers[1], numbers[0]))
    month = next(i for i, name in enumerate(_MONTHS, 1) if re.search(rf"(?<![a-z]){name}", text, re.IGNORECASE))
    return ((numbers[1] if len(numbers) > 1 else 0, month, numbers[0]),)


def _minutes(text: str) -> float:
    hour, minute, second = ([int(number) for number in re.findall(r"\d+", text)] + [0, 0])[:3]
    half = re.search(r"[ap](?=\.?m)", text, re.IGNORECASE)
    if half:
        hour = hour % 12 + (12 if half.group().lower() == "p" else 0)
    return hour * 60 + minute + second / 60


def _value(number: str) -> float:
    return float(number.replace(",", ""))


def as_fraction(percentage: str) -> float:
    """The fraction that "12.3 %" or "12.3" percent is: read from its digits, since 12.3 / 100 is not quite 0.123."""
    return float(f"{percentage.rstrip(' %').replace(',', '')}e-2")


def _pieces(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())


@dataclass
class Knowledge:
    """The facts in texts that a user has read, to decide whether a further fact is known."""

    _numbers: set[float] = field(default_factory=set)
    _names: set[str] = field(default_factory=set)
    _read: list[list[str]] = field(default_factory=list)
    _times: set[float] = field(default_factory=set)
    _dates: list[Date] = field(default_factory=list)

    def learn(self, text: str) -> None:
        text = fold(text)
        pieces = _pieces(text)
        self._names.update(pieces)
        self._read.append(pieces)
        self._numbers.update(float(COUNT.index(piece)) for piece in pieces if piece in COUNT)
        if not _DIGIT.search(text) and "@" not in text:
            return
        self._numbers.update(_value(number) for number in _NUMBER.findall(text))
        self._numbers.update(float(digits) for digits in re.findall(r"\d+", _GROUPING.sub("", text)))
        for fact in facts(text):
            if fact.kind == "date" and isinstance(fact.value, tuple):
                self._dates += fact.value
            elif isinstance(fact.value, str):
                self._names.add("".join(_pieces(fact.value)))
            elif fact.kind == "time" and not isinstance(fact.value, tuple):
                self._times.add(fact.value)
            elif fact.text.endswith("%"):
                self._numbers.add(as_fraction(fact.text))

    def knows(self, fact: Fact) -> bool:
        """Whether the fact was stated, in any spelling. A number is known if its digits occurred anywhere, a percentage
        also as a fraction."""
        match fact.value:
            case tuple():
                return any(_same(date, known) for date in fact.value for known in self._dates)
            case str():
                return self._knows_name("".join(_pieces(fact.value)))
            case _ if fact.kind == "time":
                return fact.value in self._times
            case _:
                percentage = fact.text.endswith("%") and as_fraction(fact.text) in self._numbers
                return fact.value in self._numbers or percentage

    def _knows_name(self, name: str) -> bool:
        """Neighbouring words also count as one name: "ORD 1042" may be written ORD-1042. They are joined only for the
        first name that is not a single word, which is rare."""
        if name not in self._names:
            for pieces in self._read:
                for length in range(2, 5):
                    self._names.update("".join(pieces[i : i + length]) for i in range(len(pieces) - length + 1))
            self._read.clear()
        return name in self._names


def _same(first: Date, second: Date) -> bool:
    return first[1:] == second[1:] and (first[0] == second[0] or not first[0] or not second[0])
