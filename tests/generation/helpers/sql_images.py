"""In-memory images of the shop."""

from typing import Any


def rows(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "object", "properties": properties}}
