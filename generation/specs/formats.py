"""Normalizes tool specs: OpenAI's, flat, MCP's and Anthropic's formats, and the deviations common in datasets."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import ValidationError

from core.messages import ContractError, ToolSpec
from generation.specs.json_types import dangling_reference, named_type, union

LONGEST_NAME = 64
"""Characters of a tool's name, as in core.messages.ToolSpec."""
_PARAMETERS = ("parameters", "input_schema", "inputSchema", "arguments")
_RETURNS = ("returns", "output_schema", "outputSchema", "response")
_ONE, _MANY, _NAMED = (
    ("items", "additionalProperties"),
    ("anyOf", "oneOf", "allOf", "prefixItems"),
    ("$defs", "definitions"),
)
_VALUE_OF: dict[str, type | tuple[type, ...]] = {
    "title": str,
    "description": str,
    "enum": list,
    "examples": list,
    "minimum": (int, float),
    "maximum": (int, float),
    "minLength": int,
    "maxLength": int,
    "minItems": int,
    "maxItems": int,
    "exclusiveMinimum": (int, float),
    "exclusiveMaximum": (int, float),
    "format": str,
}
"""Keyword -> type of its value; a keyword with a value of another type is dropped."""
_BOOLEANS = {"additionalProperties", "uniqueItems", "required", "optional", "nullable", "deprecated", "readOnly"}
"""Keywords whose value may be true or false, which some specs write as text."""
_DRAFT_4 = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}
"""Keywords that are true or false in draft 4, about the bound next to them."""


def parse_tool_spec(raw: Any) -> ToolSpec:
    """Parse one tool: its name reduced to letters, digits and underscores, its parameters a JSON Schema of type object.

    `parameters` may be missing (no parameters), a JSON string, a schema, a mapping of names to schemas, or a list of
    named schemas; type names of other languages are accepted, and `required` next to or within the parameters that it
    is about. Raises ValueError with the reason if the tool cannot be parsed.
    """
    try:
        if isinstance(raw, str):
            raw = json.loads(raw)
        function = raw.get("function", raw) if isinstance(raw, dict) else None
        if not isinstance(function, dict):
            raise ValueError(f"an object with a name and parameters is expected, got {_short(raw)}")
        returns = next(
            (function[key] for key in _RETURNS if isinstance(function.get(key), dict) and function[key]), None
        )
        spec = ToolSpec(
            name=parse_tool_name(function.get("name")),
            description=_description(function),
            parameters=_parameters(
                next((function[key] for key in _PARAMETERS if function.get(key)), {}), function.get("required")
            ),
            returns=_property(returns)[0] or None if returns else None,
        )
        json.dumps(spec.model_dump(), ensure_ascii=False, allow_nan=False).encode()  # rejects lone surrogates and NaN
        if reference := dangling_reference(spec.parameters) or dangling_reference(spec.returns or {}):
            raise ValueError(f"the reference {reference} does not resolve within the schema")
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except RecursionError:
        raise ValueError("the schema is too deeply nested") from None
    return spec


def add_tool(tools: dict[str, ToolSpec], tool: ToolSpec) -> bool:
    """Add a tool; False if the very same one is there. Raises ContractError if its name belongs to a different one:
    calls of that name could mean either."""
    namesake = tools.setdefault(tool.name, tool)
    if namesake != tool:
        raise ContractError(f"two different tools have the name {tool.name}", "ambiguous tools")
    return namesake is tool


def parse_tool_name(raw: Any) -> str:
    """A callable function name: "geo.lookup city" -> "geo_lookup_city". Raises ValueError unless 1 to 64 characters
    remain."""
    name = identifier(raw.strip().removeprefix("functions."), "tool") if isinstance(raw, str) else ""
    if not 0 < len(name) <= LONGEST_NAME:
        raise ValueError(f"the name {_short(raw)} cannot be used: 1 to 64 letters, digits and underscores are expected")
    return name


def identifier(raw: str, prefix: str) -> str:
    """A name reduced to letters, digits and underscores; one with a leading digit gets the prefix. Empty if nothing
    remains.

    >>> identifier("pets/{pet-id}", "tool"), identifier("2fa.reset", "tool"), identifier("…", "tool")
    ('pets_pet_id', 'tool_2fa_reset', '')
    """
    name = re.sub(r"\W+", "_", raw, flags=re.ASCII).strip("_")
    return f"{prefix}_{name}" if name[:1].isdigit() else name


def _description(function: dict[str, Any]) -> str:
    text = function.get("description")
    if isinstance(text, str) and text.strip():
        return text.strip()
    words = re.sub(r"[\W_]+", " ", str(function.get("name", ""))).strip()
    return f"{words[:1].upper()}{words[1:]}."


def _parameters(raw: Any, outer_required: Any) -> dict[str, Any]:
    """The schema of parameters, with the names in `outer_required` if it does not say itself which are required."""
    if isinstance(raw, str):
        raw = json.loads(raw)
    if isinstance(raw, list):
        raw = {part["name"]: {k: v for k, v in part.items() if k != "name"} for part in raw if _is_named(part)}
    if not isinstance(raw, dict):
        raise ValueError(f"parameters: an object is expected, got {_short(raw)}")
    if _is_mapping(raw):
        properties, marks = _properties(raw)
        required = [name for name, mark in marks.items() if mark]
        if not required and isinstance(outer_required, list):
            required = [name for name in properties if name in outer_required]
        elif not required:
            required = [name for name, mark in marks.items() if mark is None and "default" not in properties[name]]
        return {"type": "object", "properties": properties, **({"required": required} if required else {})}
    schema = _property(raw)[0]
    if schema.setdefault("type", "object") != "object":
        raise ValueError(f"parameters: type object is expected, got {_short(schema['type'])}")
    schema.setdefault("properties", {})
    if "required" not in schema and isinstance(outer_required, list):
        required = [name for name in schema["properties"] if name in outer_required]
        schema |= {"required": required} if required else {}
    return schema


def _is_mapping(raw: dict[str, Any]) -> bool:
    """Whether `raw` maps names to schemas or type names, rather than being one schema."""
    stated = "properties" in raw or isinstance(raw.get("type"), str | list)
    return not stated and all(value is None or isinstance(value, dict | str) for value in raw.values())


def _is_named(part: Any) -> bool:
    if not (isinstance(part, dict) and isinstance(part.get("name"), str)):
        raise ValueError(f"parameters: a name and a type each are expected, got {_short(part)}")
    return True


def _properties(raw: dict[str, Any]) -> tuple[dict[str, Any], dict[str, bool | None]]:
    """Their schemas, and whether each marks itself as required (None: unmarked)."""
    parsed = {name: _property(schema) for name, schema in raw.items() if schema is not None}
    return {name: schema for name, (schema, _) in parsed.items()}, {name: mark for name, (_, mark) in parsed.items()}


def _property(raw: Any) -> tuple[dict[str, Any], bool | None]:
    """A JSON Schema, and whether it marks its value as required (True), optional (False) or neither (None)."""
    if isinstance(raw, str):
        raw = {"type": raw}
    if raw is True:
        return {}, None
    if not isinstance(raw, dict):
        raise ValueError(f"a schema is expected, got {_short(raw)}")
    keywords = {key: value for key, value in _modern(raw).items() if value is not None and _fits(key, value)}
    mark = False if "default" in raw and raw["default"] is None else None
    for key, meaning in (("required", True), ("optional", False)):
        if isinstance(keywords.get(key), bool):
            mark = keywords.pop(key) is meaning
    typed, optional = _type(keywords.pop("type", None), bool(keywords.pop("nullable", False)))
    schema = typed | _subschemas(keywords)
    if not typed and not schema.keys() & {"anyOf", "oneOf", "allOf", "$ref", "enum", "const"}:
        schema |= {"type": "object"} if "properties" in schema else {"type": "array"} if "items" in schema else {}
    return schema, False if optional else mark


def _modern(raw: dict[str, Any]) -> dict[str, Any]:
    """The keywords with true and false as such, and draft 4's exclusive bounds as numbers."""
    words = {"true": True, "false": False}
    modern = {
        key: words.get(value.lower(), value) if key in _BOOLEANS and isinstance(value, str) else value
        for key, value in raw.items()
    }
    for exclusive, bound in _DRAFT_4.items():
        if isinstance(modern.get(exclusive), bool) and modern.pop(exclusive) and bound in modern:
            modern[exclusive] = modern.pop(bound)
    return modern


def _fits(key: str, value: Any) -> bool:
    if key == "pattern":
        return _is_pattern(value)
    expected = _VALUE_OF.get(key)
    if expected is None:
        return True
    return isinstance(value, expected) and not isinstance(value, bool) and not (key == "enum" and not value)


def _is_pattern(value: Any) -> bool:
    try:
        return bool(re.compile(value))
    except (re.error, TypeError):  # a regex dialect that Python does not support
        return False


def _type(declared: Any, nullable: bool) -> tuple[dict[str, Any], bool]:
    if declared is None:
        return {}, False
    names = declared if isinstance(declared, list) else [declared]
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"type: a name is expected, got {_short(declared)}")
    parsed = [named_type(name) for name in names]
    schemas = [schema for schema, _ in parsed] + [{"type": "null"}] * nullable
    return union(schemas), any(optional for _, optional in parsed)


def _subschemas(keywords: dict[str, Any]) -> dict[str, Any]:
    """The keywords other than `type`, nested schemas normalized and `required` reduced to declared properties."""
    schema = dict(keywords)
    marks: dict[str, bool | None] = {}
    listed = keywords.get("required")
    if "properties" in keywords:
        if not isinstance(keywords["properties"], dict):
            raise ValueError(f"properties: an object is expected, got {_short(keywords['properties'])}")
        properties = dict(keywords["properties"])
        if isinstance(properties.get("required"), list):
            listed = properties.pop("required")
        schema["properties"], marks = _properties(properties)
    for key in _ONE:
        if isinstance(keywords.get(key), list):
            schema.pop(key)
            schema["prefixItems"] = [_property(part)[0] for part in keywords[key]]
        elif key in keywords and not isinstance(keywords[key], bool):
            schema[key] = _property(keywords[key])[0]
    for key in _MANY:
        if isinstance(keywords.get(key), list):
            schema[key] = [_alternative(part) for part in keywords[key]]
    for key in _NAMED:
        if isinstance(keywords.get(key), dict):
            schema[key] = _properties(keywords[key])[0]
    listed = listed if isinstance(listed, list) else []
    candidates = dict.fromkeys([n for n in listed if isinstance(n, str)] + [n for n, mark in marks.items() if mark])
    schema.pop("required", None)
    if required := [name for name in candidates if name in marks]:
        schema["required"] = required
    return schema


def _alternative(raw: Any) -> dict[str, Any]:
    """A part of anyOf and the like, which may require properties that the schema around it declares."""
    schema = _property(raw)[0]
    if isinstance(raw, dict) and "properties" not in raw and isinstance(raw.get("required"), list):
        schema |= {"required": [name for name in raw["required"] if isinstance(name, str)]}
    return schema


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
