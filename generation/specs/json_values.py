"""JSON values that tools take and return: read from text, and taken apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def json_or_text(text: str) -> Any:
    """The JSON value that `text` is, or the text itself where it is none: a tool's result may be either."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(field, scalar) of every scalar in a value, in order; a list's members go by the list's name."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from leaves(part, key)
    elif isinstance(value, list):
        for part in value:
            yield from leaves(part, name)
    else:
        yield name, value
