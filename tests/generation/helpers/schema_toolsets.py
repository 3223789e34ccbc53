"""Toolsets without output schemas."""

from __future__ import annotations

from typing import Any

from core.messages import ToolSpec
from generation.tools.toolset import Toolset
from tests.generation.helpers.schemas import Schema, obj


def tool(name: str, parameters: Schema | None = None, returns: Schema | None = None) -> ToolSpec:
    return ToolSpec(name=name, description=f"Does {name}.", parameters=parameters or obj(), returns=returns)


def toolset(*tools: ToolSpec, **more: Any) -> Toolset:
    return Toolset(domain="shop", description="A shop.", tools=tools, **more)


COUNTED = ("schemas_predicted", "schema_conflicts", "schema_repairs", "schemas_dropped", "given_conflicts")
