"""Facts in what people write — numbers, dates, times, e-mail addresses, identifiers — whichever way they are spelt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from generation.specs.json_values import leaves

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_COUNT = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
# "may 3" in small letters is rather a verb.
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|(?-i:May)|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_KINDS = {
    "email": r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    "iso": r"(?<![\w-])\d{4}-\d{1,2}-\d{1,2}(?![\d-])",
    "named": rf"(?<!\w)(?:{_DAY}\s+(?:of\s+)?{_MONTH}|{_MONTH}\s+{_DAY}(?![\w:]))(?:,?\s+\d{{4}}(?!\d))?",
    "slashed": r"(?<![\w/.])\d{1,2}[/.]\d{1,2}[/.]\d{4}(?!\d)",
    "time": r"(?:(?<=\d)T)?(?<![\d:])\d{1,2}(?::\d{2}){1,2}(?![\d:])(?:\s*[ap]\.?m\b)?|(?<![\w:.])\d{1,2}\s*[ap]\.?m\b",
    "grouped": r"(?<![\w.])\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\w)",
    "token": r"\w+(?:[-_/.]\w+)*",
}
_FACT = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _KINDS.items()), re.IGNORECASE)
_DIGIT = re.compile(r"\d")
_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?")
_GROUPING = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
# "1. Find …" and "(2) change …" count the wishes of a message; they state nothing.
_ENUMERATOR = re.compile(r"(?m)^\s*\(?\d{1,2}[.)]\s|\(\d{1,2}\)\s")

Kind = Literal["email", "date", "time", "number", "identifier"]
Date = tuple[int, int, int]
"""(year, month, day); year 0 where none is said."""


@dataclass(frozen=True)
class Fact:
    """`text` as it was written. `value` is what it says: a number, minutes since midnight, lower-case letters and digits of an
    address or identifier, or the one or two dates that it can mean."""

    kind: Kind
    text: str
    value: float | str | tuple[Date, ...]


def facts(text: str) -> Iterator[Fact]:
    """Every fact in `text`, in order. Number words are none: "one or two things" states nothing."""
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
    if re.match(r"\d{4}-", text):
        return ((numbers[0], numbers[1], numbers[2]),)
    if len(numbers) == 3:  # 3/4/2025: the third of April or the fourth of March
        return ((numbers[2], numbers[0], numbers[1]), (numbers[2], numbers[1], numbers[0]))
    month = next(i for i, name in enumerate(_MONTHS, 1) if re.search(rf"(?<![a-z]){name}", text, re.IGNORECASE))
    return ((numbers[1] if len(numbers) > 1 else 0, month, numbers[0]),)


def _minutes(text: str) -> float:
    hour, minute = ([int(number) for number in re.findall(r"\d+", text)] + [0])[:2]
    half = re.search(r"[ap](?=\.?m)", text, re.IGNORECASE)
    if half:
        hour = hour % 12 + (12 if half.group().lower() == "p" else 0)
    return hour * 60 + minute


def _value(number: str) -> float:
    return float(number.replace(",", ""))


def _pieces(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())


@dataclass
class Knowledge:
    """What somebody has read or heard, for the question whether a fact is one of those."""

    _numbers: set[float] = field(default_factory=set)
    _names: set[str] = field(default_factory=set)
    _read: list[list[str]] = field(default_factory=list)
    _times: set[float] = field(default_factory=set)
    _dates: list[Date] = field(default_factory=list)

    def learn(self, text: str) -> None:
        pieces = _pieces(text)
        self._names.update(pieces)
        self._read.append(pieces)
        self._numbers.update(float(_COUNT.index(piece)) for piece in pieces if piece in _COUNT)
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

    def knows(self, fact: Fact) -> bool:
        """Whether the fact was stated, in any spelling. A number counts as known wherever its digits were met."""
        match fact.value:
            case tuple():
                return any(_same(date, known) for date in fact.value for known in self._dates)
            case str():
                return self._knows_name("".join(_pieces(fact.value)))
            case _:
                return fact.value in (self._times if fact.kind == "time" else self._numbers)

    def _knows_name(self, name: str) -> bool:
        """ "ORD 1042" may be said as ORD-1042: neighbours count as one name, too. They are joined only once a name is not met by
        itself, which is seldom."""
        if name not in self._names:
            for pieces in self._read:
                for length in range(2, 5):
                    self._names.update("".join(pieces[i : i + length]) for i in range(len(pieces) - length + 1))
            self._read.clear()
        return name in self._names


def _same(one: Date, other: Date) -> bool:
    return one[1:] == other[1:] and (one[0] == other[0] or not one[0] or not other[0])


def literals(value: Any) -> Iterator[str]:
    """The texts and numbers in a call's arguments, as text: no truth values, which nobody says, and nothing that is looked up
    on the way (placeholders of a plan)."""
    for _, leaf in leaves(value):
        if isinstance(leaf, str):
            if leaf.strip() and not leaf.startswith("${"):
                yield leaf
        elif isinstance(leaf, int | float) and not isinstance(leaf, bool):
            yield repr(leaf)


# A number that stands alone: not inside an identifier (A12), a date (2025-03-14), a time or a version.
_SIGNED = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")


_ALONE = re.compile(rf"(?<!\w)(?<!\d[-/:.]){_SIGNED.pattern}(?!\d)(?![-/:.]\d)")


def mentions_value(text: str, value: str) -> bool:
    """Whether `text` contains `value`: numbers by their value (1,200.50 is 1200.5), other values as whole words, case ignored."""
    number = _signed(value)
    if number is not None:
        return any(_signed(found) == number for found in _ALONE.findall(text))
    wanted, said = " ".join(value.casefold().split()), " ".join(text.casefold().split())
    # To compile an expression for each value costs more than all the rest, so only where it can be met.
    return wanted in said and re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", said) is not None


def _signed(text: str) -> float | None:
    return float(text.replace(",", "")) if _SIGNED.fullmatch(text) else None


def states(text: str, literal: str) -> bool:
    """Whether `text` states the value, in digits or words, as a date or time in any spelling, or else verbatim."""
    if mentions_value(text, literal):
        return True
    if literal.isdecimal():  # "one" is mostly no number: "one more thing"
        return 1 < int(literal) < len(_COUNT) and mentions_value(text, _COUNT[int(literal)])
    wanted = list(facts(literal))
    if len(wanted) != 1 or wanted[0].kind not in {"date", "time"} or wanted[0].text != literal.strip():
        return False
    known = Knowledge()
    known.learn(text)
    return known.knows(wanted[0])
