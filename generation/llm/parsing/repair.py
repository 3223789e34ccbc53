"""Broken JSON -> what was meant. Nothing is made up: where a value is missing there is no repair, and what breaks off is closed
behind its last whole item."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from json_repair.json_parser import JSONParser

LONGEST = 32_000
"""Characters of broken JSON that one text may hold: reading them takes a second or two at worst."""
DEEPEST = 64
"""Brackets within brackets: beyond that a repair takes quadratic time, and no answer is meant so."""

_COMMENTS = r"(?:\s|//[^\n]*\n|\#[^\n]*\n|/\*.{0,500}?\*/)*+"
_QUOTED = r"""\\?(?:"[^"\n]{0,200}"|'[^'\n]{0,200}'|“[^”\n]{0,200}”)"""
_KEYED = rf"\{{{_COMMENTS}{_QUOTED}{_COMMENTS}:"
_BARE = rf"""\{{{_COMMENTS}["']?[A-Za-z_]\w*["']?{_COMMENTS}:"""
_MEANT = re.compile(rf"{_KEYED}|\[{_COMMENTS}{_KEYED}", re.S)
"""An object with a quoted name, or an array of such. In prose somebody quotes it; after a colon or a tag it is an answer."""
_MEANT_ON_ITS_LINE = re.compile(rf"{_BARE}|\[{_COMMENTS}{_BARE}|\[{_COMMENTS}{_QUOTED}{_COMMENTS}(?:[,\]]|$)", re.S)
_BEFORE, _LINE = ("", "\n", ":", ">", "`", "]", "/"), ("", "\n", ">", "`", "/")
_BRACKET = re.compile(r"[\[\]{}]")
_MARK = re.compile(r"""\\.|[\[\]{},"']""", re.S)
_LITERAL = re.compile(r"(?:true|false|null|None)$", re.I)
_NOT_A_NUMBER = re.compile(r"[-+]?(?:NaN|Infinity|inf)", re.I)


@dataclass(frozen=True)
class Found:
    """A JSON value that stands in no other and ends before `end`; None where it is broken beyond repair."""

    value: Any
    end: int
    repaired: bool = False


def is_meant(text: str, start: int) -> bool:
    """Whether what opens at `start` was meant as JSON, and is not prose with a bracket in it."""
    before = text[max(0, start - 100) : start].rstrip(" \t")[-1:]
    return bool(
        (before in _BEFORE and _MEANT.match(text, start)) or (before in _LINE and _MEANT_ON_ITS_LINE.match(text, start))
    )


def repaired(text: str, start: int, longest: int, partial: bool) -> Found:
    """What opens at `start`, repaired; the value is None where that would take too long or make something up, and unless
    `partial` where something must be left out because it is not whole."""
    fence = text.find("\n```", start) if "```" in text[:start] else -1
    broken = text[start : min(fence if fence >= 0 else len(text), start + longest)]
    if _depth(broken) > DEEPEST:
        return Found(None, len(text), repaired=True)
    try:
        value, end = json.JSONDecoder(strict=False, parse_constant=lambda _: None).raw_decode(broken)
    except ValueError:
        value, end = _mended(broken, partial)
    if end >= longest:
        return Found(None, len(text), repaired=True)
    return Found(value, start + end, repaired=True)


def _mended(broken: str, partial: bool) -> tuple[Any, int]:
    """(the value with which `broken` begins, where it ends); None where a value would have to be made up."""
    parser = JSONParser(broken, None, False)
    try:
        value: Any = parser.parse_json()
        if parser.index >= len(broken.rstrip()) and (whole := _whole(broken)) != broken:
            value = JSONParser(whole, None, False).parse_json() if partial else None
    except (ValueError, RecursionError):
        return None, len(broken)
    missing = _blanks(value) > broken.count('""') + broken.count("''")
    return None if missing or not value else _without_nan(value, broken), max(parser.index, 1)


def _depth(text: str) -> int:
    """How deep brackets stand in brackets, those in strings counted as well, since broken strings end anywhere."""
    depth = deepest = 0
    for bracket in _BRACKET.findall(text):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest


def _whole(broken: str) -> str:
    """`broken`, which ends too early, without its last item if that is not whole: an item of the outermost array that is open,
    else of the innermost object."""
    open_at: list[tuple[str, int]] = []  # each open bracket, and where its last item begins
    quote = ""
    for found in _MARK.finditer(broken):
        mark, at = found[0], found.start()
        if quote:
            if mark == quote and _after(broken, at + 1) in ",:}]":
                quote = ""
        elif mark in "\"'":
            quote = mark if _before(broken, at) in "{[,:" else ""
        elif mark in "[{":
            open_at.append((mark, at + 1))
        elif mark == "," and open_at:
            open_at[-1] = (open_at[-1][0], at)
        elif mark in "]}" and open_at:
            open_at.pop()
    last = broken.rstrip()[-1:]
    if not open_at or (quote and last in "]}"):
        return broken  # nothing is open, or it is a quote that is missing
    array = next((i for i, (bracket, _) in enumerate(open_at) if bracket == "["), len(open_at) - 1)
    tail = broken[open_at[-1][1] :].strip(", \n\t")
    whole = not quote and array == len(open_at) - 1 and (not tail or last in ",]}\"'" or _LITERAL.search(tail))
    return broken if whole else broken[: open_at[array][1]]


def _after(text: str, at: int) -> str:
    """The next character that is no space; "," at the end."""
    return text[at : at + 100].lstrip()[:1] or ","


def _before(text: str, at: int) -> str:
    return text[max(0, at - 100) : at].rstrip()[-1:] or "{"


def _blanks(value: Any) -> int:
    """How many strings in `value` are empty: what a repair puts where something is missing."""
    if isinstance(value, dict):
        return sum((not key) + _blanks(item) for key, item in value.items())
    return sum(map(_blanks, value)) if isinstance(value, list) else int(value == "")


def _without_nan(value: Any, broken: str) -> Any:
    """JSON has no number that is none: null, unless it was quoted."""
    if isinstance(value, dict):
        return {key: _without_nan(item, broken) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item, broken) for item in value]
    bare = isinstance(value, str) and _NOT_A_NUMBER.fullmatch(value) and not re.search(rf"[\"']{value}[\"']", broken)
    return None if bare else value
