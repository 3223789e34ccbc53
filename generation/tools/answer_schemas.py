"""JSON Schemas of what the tool maker and the schema writer answer, in the part of JSON Schema that servers enforce.

Servers write the declared properties in this order. What only code can check is left open: whether a schema in an
answer is valid, whether SQL runs.
"""

from __future__ import annotations

from typing import Any

from generation.specs.structured import object_schema

Schema = dict[str, Any]

NAME = r"[a-z][a-z0-9]*(_[a-z0-9]+)*"
"""The names of tools: snake_case."""

_SCALARS = ("string", "integer", "number", "boolean")
_TEXT: Schema = {"type": "string"}


def _array(items: Schema, fewest: int, most: int) -> Schema:
    return {"type": "array", "items": items, "minItems": fewest, "maxItems": most}


def _types(*names: str) -> Schema:
    """A type name, or a list of them: "string", ["string", "null"]."""
    return {"anyOf": [{"enum": list(names)}, {"type": "array", "items": {"enum": [*names, "null"]}}]}


def _mapping(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


def _parameters(types: Schema) -> Schema:
    """A JSON Schema of type object; each parameter may have further keywords, such as enum and items."""
    parameter = object_schema({"type": types, "description": _TEXT}, others=True)
    return object_schema(
        {"type": {"enum": ["object"]}, "properties": _mapping(parameter), "required": {"type": "array", "items": _TEXT}}
    )


_TOOL: dict[str, Schema] = {"name": {"type": "string", "pattern": f"^{NAME}$"}, "description": _TEXT}
_ANY_FIELD = object_schema({"type": _types(*_SCALARS, "array", "object")}, others=True)
_COLUMNS = _mapping(object_schema({"type": _types(*_SCALARS)}, {"description": _TEXT}))
_ROWS = object_schema(
    {"type": {"enum": ["array"]}, "items": object_schema({"type": {"enum": ["object"]}, "properties": _COLUMNS})}
)
_CHANGES = object_schema({"type": {"enum": ["object"]}, "properties": _COLUMNS})

DOMAIN = object_schema({"title": _TEXT, "description": _TEXT})

OUTPUT_SCHEMA = object_schema(
    {"type": {"enum": ["object", "array"]}},
    {"description": _TEXT, "properties": _mapping(_ANY_FIELD), "items": _ANY_FIELD},
    others=True,
)
"""A JSON Schema of what a tool returns."""


def questions(most: int) -> Schema:
    return _array(_TEXT, 1, most)


def tool_specs(fewest: int, most: int) -> Schema:
    return _array(
        object_schema({**_TOOL, "parameters": _parameters(_types(*_SCALARS, "array", "object"))}), fewest, most
    )


def sql_tools(fewest: int, most: int) -> Schema:
    """Tools with their SQL, which stands before what depends on it."""
    tool = {**_TOOL, "sql": _TEXT, "parameters": _parameters({"enum": list(_SCALARS)})}
    return _array(object_schema({**tool, "returns": {"anyOf": [_ROWS, _CHANGES]}}), fewest, most)
