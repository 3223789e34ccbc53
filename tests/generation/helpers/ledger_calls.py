"""Calls that the ledger is tested with."""

from __future__ import annotations

from typing import Any

from core.messages import ToolSpec

Step = tuple[str, dict[str, Any], Any]


def tool(name: str, returns: dict[str, Any], **parameters: Any) -> ToolSpec:
    schema = {"type": "object", "properties": parameters, "required": [n for n in parameters if n.endswith("_id")]}
    return ToolSpec(name=name, description=name, parameters=schema, returns=returns)
