"""What a tool's spec declares: the parameters of a call and the fields of its result."""

from __future__ import annotations

from typing import Any, NamedTuple

from core.messages import ToolSpec
from generation.specs.naming import action
from generation.specs.resolved_schema import Schema, kind, resolved
from generation.specs.spelling import snake

HIDDEN = {"rows_affected", "success", "message", "error", "ok"}
"""Result fields that are never told to the user."""
SCALARS = ("string", "integer", "number")


class Parameter(NamedTuple):
    """A parameter of a tool, its schema resolved."""

    name: str
    schema: Schema
    optional: bool

    @property
    def field(self) -> str:
        return snake(self.name)


def returns_many(tool: ToolSpec) -> bool:
    """Whether the tool's name says that it returns several records."""
    return action(tool.name) in ("list", "rank")


def parameters(tool: ToolSpec) -> list[Parameter]:
    """The declared parameters of a tool, in their order."""
    declared = tool.parameters.get("properties") or {}
    required = tool.parameters.get("required") or []
    return [
        Parameter(name, resolved(schema, tool.parameters), name not in required) for name, schema in declared.items()
    ]


def returned_kind(tool: ToolSpec) -> str:
    """The JSON type of a result; an empty string if any type goes."""
    return kind(resolved(tool.returns, tool.returns or {}))


def scalar_fields(returns: Any, root: Schema, nested: bool) -> dict[str, str]:
    """Field -> type of the scalar fields of a returned object, or of the objects of a returned list. With `nested`, an
    object without any yields those of its first part that has some. `root` is the complete schema."""
    row = resolved(returns, root)
    row = resolved(row.get("items"), root) if kind(row) == "array" else row
    properties = {name: part for name, part in (row.get("properties") or {}).items() if isinstance(part, dict)}
    kinds = {name: part.get("type") for name, part in properties.items() if name not in HIDDEN}
    scalars = {name: kind for name, kind in kinds.items() if isinstance(kind, str) and kind in SCALARS}
    if scalars or not nested:
        return scalars
    return next((inner for part in properties.values() if (inner := scalar_fields(part, root, nested=True))), {})
