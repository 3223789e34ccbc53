"""JSON Schemas in few words: obj(name="string", size={"type": "integer", "minimum": 1})."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def obj(**properties: Schema | str) -> Schema:
    return {
        "type": "object",
        "properties": {k: {"type": v} if isinstance(v, str) else v for k, v in properties.items()},
    }


def rows(**properties: Schema | str) -> Schema:
    return {"type": "array", "items": obj(**properties)}
