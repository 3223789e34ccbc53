"""The stand-in's tool simulator: makes up a return value that fits the schema and repeats what the arguments say."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from generation.llm.base import ToolSimulatorContext

_WORDS = {
    "name": ["Ada Moreno", "Jon Aldous", "Mira Castell", "Tom Okafor", "Lena Brandt", "Ravi Menon"],
    "title": ["Quiet Harbour", "The Long Field", "Northern Light", "Paper Boats", "Second Spring"],
    "city": ["Utrecht", "Porto", "Leeds", "Graz", "Aarhus", "Lyon"],
    "email": ["a.moreno@example.com", "info@example.org", "mira@example.net"],
    "phone": ["555-0142", "555-0178", "555-0199"],
    "date": ["2025-03-14", "2025-05-02", "2025-06-21", "2025-09-30"],
    "status": ["active", "open", "pending", "done"],
}
_OTHER = ["standard", "basic", "special", "regular", "north wing", "category A"]


def answer(context: ToolSimulatorContext, rng: Random) -> str:
    """A JSON value: one row for reads, one affected row for changes."""
    return json.dumps(_value(context.tool.returns or {}, "", context.arguments, rng), ensure_ascii=False)


def _value(schema: dict[str, Any], name: str, arguments: dict[str, Any], rng: Random) -> Any:
    if name in arguments:
        return arguments[name]
    kind = schema.get("type", "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if "enum" in schema:
        return rng.choice(schema["enum"])
    if kind == "array":
        return [_value(schema.get("items", {}), name, arguments, rng)]
    if kind == "object":
        return {key: _value(part, key, arguments, rng) for key, part in schema.get("properties", {}).items()}
    if kind == "integer":
        return 1 if name == "rows_affected" else rng.randint(2, 900)
    if kind == "number":
        return round(rng.uniform(5, 500), 2)
    if kind == "boolean":
        return rng.random() < 0.5
    return rng.choice(next((options for part, options in _WORDS.items() if part in name), _OTHER))
