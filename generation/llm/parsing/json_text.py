"""JSON out of a model's text: fenced, surrounded by prose, or bare; broken JSON is repaired where nothing better stands there.

What stands in the text as JSON is taken as it is. Only where nothing of the wanted kind does, that which was clearly meant as
JSON is repaired: single quotes, Python's literals, trailing commas, comments, missing quotes and brackets, NaN. Prose never is.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator
from typing import Any, Never, TypeVar

from pydantic import BaseModel, ValidationError

from generation.llm.parsing.repair import LONGEST, Found, is_meant, repaired

M = TypeVar("M", bound=BaseModel)

MOST_TRIES = 2_000
"""Brackets in one text with which no JSON begins: each costs a look at all lines before it."""

_OPENING = re.compile(r"[\[{]")


def first_json(text: str, kind: type[dict[str, Any]] | type[list[Any]], partial: bool = True) -> Any:
    """The first JSON object (kind=dict) or array (kind=list) in `text` that stands in no other; else the first that can be
    repaired, and only if it is whole unless `partial`. Raises ValueError that shows the text's beginning where there is none,
    or where no file could hold it."""
    for found in _strict_first(text, partial):
        if isinstance(found.value, kind):
            return _writable(found.value)
    raise ValueError(f"expected a JSON {'object' if kind is dict else 'array'}, got: {text[:120]!r}")


def first_records(text: str) -> list[dict[str, Any]]:
    """The first JSON array of objects in `text`, also where it stands in an object. Of an array that breaks off, the objects
    that are whole. Raises ValueError as `first_json` does."""
    for found in _strict_first(text):
        for array in _arrays(found.value):
            if array and all(isinstance(item, dict) for item in array):
                return list(_writable(array))
    raise ValueError(f"expected a JSON array of objects, got: {text[:120]!r}")


def read_answer(text: str, model: type[M]) -> M:
    """The first JSON object in `text` as `model`. Raises ValueError that says what is wrong with it."""
    try:
        return model.model_validate(first_json(text, dict))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def needs_repair(text: str) -> bool:
    """Whether what these readers find in `text` is repaired: it holds broken JSON, and whole JSON only as notes [1] hold it."""
    found = list(_outermost(text))
    whole = [item.value for item in found if not item.repaired]
    notes = all(isinstance(value, list) and all(isinstance(item, int) for item in value) for value in whole)
    return notes and any(item.repaired and item.value for item in found)


def _strict_first(text: str, partial: bool = True) -> list[Found]:
    return sorted(_outermost(text, partial), key=lambda found: found.repaired)


def _outermost(text: str, partial: bool = True) -> Iterator[Found]:
    """The JSON values in `text` that stand in no other, whole or repaired, in order. What stands within a broken one is part
    of it, not an answer of its own."""
    decoder = json.JSONDecoder(parse_constant=_refuse)
    position, tries, allowed = 0, MOST_TRIES, LONGEST
    while tries and (opening := _OPENING.search(text, position)):
        start = opening.start()
        position = start + 1
        try:
            value, position = decoder.raw_decode(text, start)
            yield Found(value, position)
        except RecursionError:
            return  # thousands of brackets: to try them one by one would hold the event loop for minutes
        except ValueError:
            tries -= 1
            if is_meant(text, start):
                found = repaired(text, start, allowed, partial)
                allowed -= max(found.end - start, LONGEST // 50)
                position = found.end
                yield found


def _arrays(value: Any) -> Iterator[list[Any]]:
    """`value` and what stands in it, as far as they are arrays; the outer ones first."""
    waiting = deque([value])
    while waiting:
        value = waiting.popleft()
        if isinstance(value, list):
            yield value
        waiting.extend(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())


def _refuse(constant: str) -> Never:
    raise ValueError(f"{constant} is no JSON")


def _writable(value: Any) -> Any:
    """Half a surrogate pair, as "\\ud83d", is no UTF-8: UnicodeEncodeError, which is a ValueError; so is an infinite number."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError:
        raise ValueError("the JSON is too deeply nested") from None
    return value
