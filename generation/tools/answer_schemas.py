"""JSON Schemas of what the writers of tools, output schemas and policies answer, in the part of JSON Schema that
servers enforce.

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


_VALUE: Schema = {
    "anyOf": [
        {"type": ["string", "number", "boolean", "null"]},
        {"type": "array", "items": {"type": ["string", "number", "boolean", "null"]}},
    ]
}
_OPERATORS = ["is", "is_not", "in", "not_in", "at_most", "at_least", "before", "after"]
_COMPARISON = object_schema({"field": _TEXT, "op": {"enum": _OPERATORS}, "value": _VALUE})
_COMPARISONS = {"type": "array", "items": _COMPARISON}
_CALL = {"tool": _TEXT, "arguments": _mapping({"type": ["string", "number", "boolean"]})}
_LOOK_UP = object_schema(_CALL, {"of": object_schema(_CALL), "each": _TEXT})
_NAMES: Schema = {"type": "array", "items": _TEXT, "minItems": 1}


def _rule(form: str, required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    common = {"form": {"enum": [form]}, "rule_id": {"type": "string", "pattern": f"^{NAME}$"}, "text": _TEXT}
    return object_schema(common | {"tools": _NAMES} | required, (optional or {}) | {"when": _COMPARISONS})


_RULES = [
    _rule("arguments", {"require": _COMPARISONS}),
    _rule(
        "state",
        {"look_up": _LOOK_UP, "require": _COMPARISONS},
        {"unless": _COMPARISONS, "fewer_than": {"type": "integer"}},
    ),
    _rule("identity", {"first": _NAMES, "subject": _TEXT}, {"look_up": _LOOK_UP}),
    _rule("confirm", {}),
    _rule("staff", {"contact": _TEXT}),
]


def rules(fewest: int, most: int) -> Schema:
    """The rules of a policy, of any form."""
    return _array({"anyOf": _RULES}, fewest, most)


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
