"""Parses and flattens the JSON values that tools take and return."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def json_or_text(text: str) -> Any:
    """Parse `text` as JSON, or return it unchanged if it is not JSON: a tool's result may be either."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(field, scalar) for every scalar in a value, in order; list items carry the list's name."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from leaves(part, key)
    elif isinstance(value, list):
        for part in value:
            yield from leaves(part, name)
    else:
        yield name, value
