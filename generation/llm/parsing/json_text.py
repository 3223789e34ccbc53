"""Finds JSON in a model's text, whether fenced, surrounded by prose or bare.

Valid JSON is taken as it is. Only if the text has none of the wanted kind, what was clearly meant as JSON is repaired:
single quotes, Python literals, trailing commas, comments, missing quotes and brackets, NaN. Prose is never repaired
into JSON.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import deque
from collections.abc import Iterator
from typing import Any, Never, TypeVar

from pydantic import BaseModel, ValidationError

from generation.llm.parsing.repair import MAX_BROKEN_LENGTH, JsonSpan, looks_like_json, repaired

M = TypeVar("M", bound=BaseModel)

MAX_ATTEMPTS = 2_000
"""Opening brackets per text that may turn out not to start JSON: each one costs a scan of all lines before it."""

_OPENING = re.compile(r"[\[{]")


def _reject_constant(constant: str) -> Never:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_reject_constant)


def first_json(text: str, kind: type[dict[str, Any]] | type[list[Any]], partial: bool = True) -> Any:
    """The first outermost JSON object (kind=dict) or array (kind=list) in `text`, else the first that can be repaired;
    without `partial`, only a complete one is repaired.

    Raises ValueError that quotes the start of the text if it has none, and for values that cannot be written as UTF-8
    JSON.
    """
    for span in _valid_first(text, partial):
        if isinstance(span.value, kind):
            return checked_writable(span.value)
    raise _expected("object" if kind is dict else "array", text)


def leading_json(text: str, kind: type[dict[str, Any]] | type[list[Any]]) -> tuple[Any, str]:
    """(the complete JSON object or array that `text` starts with, perhaps repaired; the text after it). Raises
    ValueError as `first_json` does, and if it starts with words."""
    span = next(_outermost(text, partial=False), None)
    if span is None or not isinstance(span.value, kind) or has_words(text[: span.start]):
        raise _expected("object" if kind is dict else "array", text)
    return checked_writable(span.value), text[span.end :]


def only_objects(text: str) -> list[dict[str, Any]]:
    """The complete JSON objects that `text` consists of, perhaps repaired; marks and code fences around them are left
    out. Raises ValueError as `first_json` does, and for any words or other values around them."""
    values, around = split_json(text, partial=False)
    if not values or not all(isinstance(value, dict) for value in values) or has_words(around):
        raise _expected("object and nothing else", text)
    return list(checked_writable(values))


def has_words(text: str) -> bool:
    """Whether there is anything but marks and code fences."""
    return re.search(r"\w", re.sub(r"```\w*", "", text)) is not None


def _expected(what: str, text: str) -> ValueError:
    return ValueError(f"expected a JSON {what}, got: {text[:120]!r}")


def first_records(text: str) -> list[dict[str, Any]]:
    """The first JSON array of objects in `text`, even inside an object; of a truncated array, its complete objects.
    Raises ValueError as `first_json` does."""
    for span in _valid_first(text):
        for array in _arrays(span.value):
            if array and all(isinstance(item, dict) for item in array):
                return list(checked_writable(array))
    raise _expected("array of objects", text)


def complete_part(text: str) -> str:
    """Of an answer in JSON that was cut off, the part that is complete, as JSON; "" if there is none.

    That is the object or array that ends before the cut; else the complete items of the array that was cut, which may
    be a member of an object. Nothing is repaired.
    """
    for opening in itertools.islice(_OPENING.finditer(text), MAX_ATTEMPTS):
        try:
            value, end = _DECODER.raw_decode(text, opening.start())
        except RecursionError:
            return ""
        except ValueError:
            if not looks_like_json(text, opening.start()):
                continue
            read = _complete_items if opening[0] == "[" else _items_in_object
            items = read(text, opening.end())
            return json.dumps(items, ensure_ascii=False) if items else ""
        if value and not _is_reference(value):
            return text[opening.start() : end]
    return ""


def _complete_items(text: str, position: int) -> list[Any]:
    """The complete items of an array whose first item starts at `position`."""
    items: list[Any] = []
    while (read := _value(text, position)) is not None:
        value, position = read
        items.append(value)
        if text[position : position + 1] != ",":
            break
        position += 1
    return items


def _items_in_object(text: str, position: int) -> list[Any]:
    """The first array among the members of an object whose first member starts at `position`: its complete items."""
    while (read := _value(text, position)) is not None:
        start = _after_space(text, read[1] + 1)
        if text[start : start + 1] == "[":
            return _complete_items(text, start + 1)
        if (member := _value(text, start)) is None:
            return []
        position = member[1] + 1
    return []


def _value(text: str, position: int) -> tuple[Any, int] | None:
    """(the JSON value at `position`, the position of the mark after it); None if it is not complete. A number at the
    end of the text may continue."""
    try:
        value, end = _DECODER.raw_decode(text, _after_space(text, position))
    except (ValueError, RecursionError):
        return None
    after = _after_space(text, end)
    return None if after == len(text) and isinstance(value, int | float) else (value, after)


def _after_space(text: str, position: int) -> int:
    while text[position : position + 1].isspace():
        position += 1
    return position


def _is_reference(value: Any) -> bool:
    """Whether a list is a reference such as [1], not an answer."""
    return isinstance(value, list) and all(isinstance(item, int) for item in value)


def read_answer(text: str, model: type[M]) -> M:
    """The first JSON object in `text` as `model`. Raises ValueError with the first problem."""
    try:
        return model.model_validate(first_json(text, dict))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def split_json(text: str, partial: bool = True) -> tuple[list[Any], str]:
    """(the outermost JSON values in `text`, valid or repaired; the text around them). Without `partial`, only a
    complete value is repaired, and any other is None."""
    spans = list(_outermost(text, partial))
    edges = [0, *(edge for span in spans for edge in (span.start, span.end)), len(text)]
    around = " ".join(text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True))
    return [span.value for span in spans], around


def needs_repair(text: str) -> bool:
    """Whether the JSON that these functions find in `text` is repaired: the text has broken JSON, and no valid JSON
    apart from references such as [1]."""
    spans = list(_outermost(text))
    valid = [span.value for span in spans if not span.repaired]
    return all(map(_is_reference, valid)) and any(span.repaired and span.value for span in spans)


def checked_writable(value: Any) -> Any:
    """`value`, if it can be written as UTF-8 JSON. Raises ValueError for lone surrogates ("\\ud83d") and infinite
    numbers."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError:
        raise ValueError("the JSON is too deeply nested") from None
    return value


def _valid_first(text: str, partial: bool = True) -> list[JsonSpan]:
    return sorted(_outermost(text, partial), key=lambda span: span.repaired)


def _outermost(text: str, partial: bool = True) -> Iterator[JsonSpan]:
    """The outermost JSON values in `text`, valid or repaired, in order. Values inside a broken one are part of it, not
    answers in their own right."""
    position, attempts, budget = 0, MAX_ATTEMPTS, MAX_BROKEN_LENGTH
    while attempts and (opening := _OPENING.search(text, position)):
        start = opening.start()
        position = start + 1
        try:
            value, position = _DECODER.raw_decode(text, start)
            yield JsonSpan(value, start, position)
        except RecursionError:
            return  # thousands of brackets: trying them one by one would block the event loop for minutes
        except ValueError:
            attempts -= 1
            if looks_like_json(text, start):
                span = repaired(text, start, budget, partial)
                budget -= max(span.end - start, MAX_BROKEN_LENGTH // 50)
                position = span.end
                yield span


def _arrays(value: Any) -> Iterator[list[Any]]:
    """The arrays in `value`, itself included, the outer ones first."""
    queue = deque([value])
    while queue:
        value = queue.popleft()
        if isinstance(value, list):
            yield value
        queue.extend(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
