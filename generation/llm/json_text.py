"""JSON out of a model's text: fenced, surrounded by prose, or bare."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)

_OPENING = re.compile(r"[\[{]")
_RECORDS = re.compile(r"\[\s*\{")


def first_json(text: str, kind: type[dict[str, Any]] | type[list[Any]]) -> Any:
    """The first JSON object (kind=dict) or array (kind=list) in `text` that stands in no other. Raises ValueError that shows
    the text's beginning where there is none, or where its strings could not be written to a file."""
    for value in _values(text, _OPENING, nested=False):
        if isinstance(value, kind):
            return _writable(value)
    raise ValueError(f"expected a JSON {'object' if kind is dict else 'array'}, got: {text[:120]!r}")


def first_records(text: str) -> list[dict[str, Any]]:
    """The first JSON array of objects in `text`, also where it stands in an object. Raises ValueError as `first_json` does."""
    for value in _values(text, _RECORDS, nested=True):
        if all(isinstance(item, dict) for item in value):
            return list(_writable(value))
    raise ValueError(f"expected a JSON array of objects, got: {text[:120]!r}")


def _values(text: str, opening: re.Pattern[str], nested: bool) -> Iterator[Any]:
    """The JSON values that begin where `opening` matches; those within another one only if `nested`."""
    decoder = json.JSONDecoder()
    position = 0
    while found := opening.search(text, position):
        position = found.start() + 1
        try:
            value, end = decoder.raw_decode(text, found.start())
        except RecursionError:
            return  # thousands of brackets: to try them one by one would hold the event loop for minutes
        except ValueError:
            continue
        if not nested:
            position = end
        yield value


def _writable(value: Any) -> Any:
    """Half a surrogate pair, as "\\ud83d", is no UTF-8: UnicodeEncodeError, which is a ValueError."""
    json.dumps(value, ensure_ascii=False).encode()
    return value


def read_answer(text: str, model: type[M]) -> M:
    """The first JSON object in `text` as `model`. Raises ValueError that says what is wrong with it."""
    try:
        return model.model_validate(first_json(text, dict))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
