"""Proposed tools in few words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from generation.tools.merging import Merged


def spec(name: str, description: str = "", required: Sequence[str] = (), **types: str) -> dict[str, Any]:
    """A flat function spec with a unique description unless one is given."""
    properties = {key: {"type": kind, "description": f"the {key} for {name}"} for key, kind in types.items()}
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"name": name, "description": description or f"What {name} does.", "parameters": parameters}


def names(merged: Merged) -> list[str]:
    return [tool.name for tool in merged.tools]
