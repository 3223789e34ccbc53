"""JSON out of a model's text: fenced, surrounded by prose, or bare."""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)

_OPENING = re.compile(r"[\[{]")


def first_json(text: str, kind: type[dict[str, Any]] | type[list[Any]]) -> Any:
    """The first JSON object (kind=dict) or array (kind=list) in `text` that stands in no other. Raises ValueError that shows
    the text's beginning where there is none, or where its strings could not be written to a file."""
    decoder = json.JSONDecoder()
    position = 0
    while opening := _OPENING.search(text, position):
        try:
            value, position = decoder.raw_decode(text, opening.start())
        except RecursionError:
            break  # thousands of brackets: to try them one by one would hold the event loop for minutes
        except ValueError:
            position = opening.start() + 1
            continue
        if isinstance(value, kind):
            json.dumps(
                value, ensure_ascii=False
            ).encode()  # half a surrogate pair, as "\\ud83d", is no UTF-8: ValueError
            return value
    name = "object" if kind is dict else "array"
    raise ValueError(f"expected a JSON {name}, got: {text[:120]!r}")


def read_answer(text: str, model: type[M]) -> M:
    """The first JSON object in `text` as `model`. Raises ValueError that says what is wrong with it."""
    try:
        return model.model_validate(first_json(text, dict))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
