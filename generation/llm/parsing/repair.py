"""Repairs broken JSON without inventing anything: text with a missing value is not repaired, and truncated text is
closed after its last complete item."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from json_repair.json_parser import JSONParser

MAX_BROKEN_LENGTH = 32_000
"""Characters of broken JSON per text: parsing them takes a second or two at worst."""
MAX_DEPTH = 64
"""Nested brackets: beyond that a repair takes quadratic time, and no intended answer is that deep."""

_COMMENTS = r"(?:\s|//[^\n]*\n|\#[^\n]*\n|/\*.{0,500}?\*/)*+"
_QUOTED = r"""\\?(?:"[^"\n]{0,200}"|'[^'\n]{0,200}'|“[^”\n]{0,200}”)"""
_KEYED = rf"\{{{_COMMENTS}{_QUOTED}{_COMMENTS}:"
_BARE = rf"""\{{{_COMMENTS}["']?[A-Za-z_]\w*["']?{_COMMENTS}:"""
_QUOTED_KEY = re.compile(rf"{_KEYED}|\[{_COMMENTS}{_KEYED}", re.S)
"""An object with a quoted key, or an array of such objects. In running prose it is a quotation; after a colon or a tag
it is an answer."""
_STARTS_A_LINE = re.compile(rf"{_BARE}|\[{_COMMENTS}{_BARE}|\[{_COMMENTS}{_QUOTED}{_COMMENTS}(?:[,\]]|$)", re.S)
_BEFORE_QUOTED_KEY, _BEFORE_LINE = ("", "\n", ":", ">", "`", "]", "/"), ("", "\n", ">", "`", "/")
_BRACKET = re.compile(r"[\[\]{}]")
_MARK = re.compile(r"""\\.|[\[\]{},"']""", re.S)
_LITERAL = re.compile(r"(?:true|false|null|None)$", re.I)
_NOT_A_NUMBER = re.compile(r"[-+]?(?:NaN|Infinity|inf)", re.I)


@dataclass(frozen=True)
class JsonSpan:
    """An outermost JSON value in text[start:end]; None if it is broken beyond repair."""

    value: Any
    start: int
    end: int
    repaired: bool = False


def looks_like_json(text: str, start: int) -> bool:
    """Whether the bracket at `start` was meant to open JSON, rather than being part of prose."""
    before = text[max(0, start - 100) : start].rstrip(" \t")[-1:]
    return bool(
        (before in _BEFORE_QUOTED_KEY and _QUOTED_KEY.match(text, start))
        or (before in _BEFORE_LINE and _STARTS_A_LINE.match(text, start))
    )


def repaired(text: str, start: int, max_length: int, partial: bool) -> JsonSpan:
    """The value that opens at `start`, repaired. It is None if a repair would take too long or invent something and,
    without `partial`, if an incomplete item would have to be dropped."""
    fence = text.find("\n```", start) if "```" in text[:start] else -1
    broken = text[start : min(fence if fence >= 0 else len(text), start + max_length)]
    if _depth(broken) > MAX_DEPTH:
        return JsonSpan(None, start, len(text), repaired=True)
    try:
        value, end = json.JSONDecoder(strict=False, parse_constant=lambda _: None).raw_decode(broken)
    except ValueError:
        value, end = _repair(broken, partial)
    if end >= max_length:
        return JsonSpan(None, start, len(text), repaired=True)
    return JsonSpan(value, start, start + end, repaired=True)


def _repair(broken: str, partial: bool) -> tuple[Any, int]:
    """(the value at the start of `broken`, its end); the value is None if something would have to be invented."""
    parser = JSONParser(broken, None, False)
    try:
        value: Any = parser.parse_json()
        if parser.index >= len(broken.rstrip()) and (complete := _without_incomplete_item(broken)) != broken:
            value = JSONParser(complete, None, False).parse_json() if partial else None
    except (ValueError, RecursionError):
        return None, len(broken)
    missing = _empty_strings(value) > broken.count('""') + broken.count("''")
    return None if missing or not value else _without_nan(value, broken), max(parser.index, 1)


def _depth(text: str) -> int:
    """The depth of nested brackets, including those in strings, since broken strings may end anywhere."""
    depth = deepest = 0
    for bracket in _BRACKET.findall(text):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest


def _without_incomplete_item(broken: str) -> str:
    """Truncated text without its last item, if that is incomplete: an item of the outermost open array, else of the
    innermost object."""
    open_at: list[tuple[str, int]] = []  # each open bracket, and the start of its last item
    quote = ""
    for match in _MARK.finditer(broken):
        mark, at = match[0], match.start()
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
        return broken  # nothing is open, or only a quote is missing
    array = next((i for i, (bracket, _) in enumerate(open_at) if bracket == "["), len(open_at) - 1)
    tail = broken[open_at[-1][1] :].strip(", \n\t")
    complete = not quote and array == len(open_at) - 1 and (not tail or last in ",]}\"'" or _LITERAL.search(tail))
    return broken if complete else broken[: open_at[array][1]]


def _after(text: str, at: int) -> str:
    """The next character that is not a space; "," at the end."""
    return text[at : at + 100].lstrip()[:1] or ","


def _before(text: str, at: int) -> str:
    return text[max(0, at - 100) : at].rstrip()[-1:] or "{"


def _empty_strings(value: Any) -> int:
    """The number of empty strings in `value`, which the parser inserts where something is missing."""
    if isinstance(value, dict):
        return sum((not key) + _empty_strings(item) for key, item in value.items())
    return sum(map(_empty_strings, value)) if isinstance(value, list) else int(value == "")


def _without_nan(value: Any, broken: str) -> Any:
    """`value` with null for NaN and infinities, which JSON lacks, unless they were quoted."""
    if isinstance(value, dict):
        return {key: _without_nan(item, broken) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item, broken) for item in value]
    bare = isinstance(value, str) and _NOT_A_NUMBER.fullmatch(value) and not re.search(rf"[\"']{value}[\"']", broken)
    return None if bare else value
