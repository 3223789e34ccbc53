"""JSON out of a model's text: fenced, surrounded by prose, or bare."""

from __future__ import annotations

import json
from typing import Any


def first_json(text: str, kind: type[dict[str, Any]] | type[list[Any]]) -> Any:
    """The first JSON object (kind=dict) or array (kind=list) in `text`. Raises ValueError that shows the text's beginning."""
    opening = "{" if kind is dict else "["
    decoder = json.JSONDecoder()
    start = text.find(opening)
    while start != -1:
        try:
            return decoder.raw_decode(text, start)[0]
        except json.JSONDecodeError:
            start = text.find(opening, start + 1)
    name = "object" if kind is dict else "array"
    raise ValueError(f"expected a JSON {name}, got: {text[:120]!r}")
