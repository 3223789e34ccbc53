"""Argument values for BFCL's Java and JavaScript tasks: strings that contain a literal of the language."""

from __future__ import annotations

import json
from typing import Any

SUFFIXES = {"long": "L", "float": "f"}


def as_java(value: Any, declared: dict[str, Any]) -> str:
    """`declared` is the parameter's schema, with Java types. Strings stay unchanged: they may name a variable."""
    kind = declared["type"]
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        puts = " ".join(f"put({json.dumps(key)}, {json.dumps(inner)});" for key, inner in value.items())
        return f"new HashMap<String, Object>() {{{{ {puts} }}}}"
    if isinstance(value, list):
        item = declared["items"]["type"]
        # The official parser strips quotes in lists, but not in arrays.
        items = [x if kind == "Array" and isinstance(x, str) else json.dumps(x) + SUFFIXES.get(item, "") for x in value]
        return f"new {item}[]{{{', '.join(items)}}}" if kind == "Array" else _array_list(items)
    return json.dumps(value) + SUFFIXES.get(kind, "")


def _array_list(items: list[str]) -> str:
    return f"new ArrayList<>(Arrays.asList({', '.join(items)}))" if items else "new ArrayList<>()"


def as_javascript(value: Any, declared: dict[str, Any]) -> str:
    """Like `as_java`, for JavaScript."""
    if isinstance(value, str):
        return value
    return json.dumps(value) + ("n" if declared["type"] == "Bigint" else "")
