"""JSON Schemas for structured output: what every server's grammar supports of a schema."""

from __future__ import annotations

from typing import Any

_KEPT = ("type", "enum", "minItems", "maxItems", "$ref")


def structured(schema: Any) -> dict[str, Any]:
    """The part of a JSON Schema that grammars enforce, so that a server need not refuse all of it: types, properties,
    items, enums, alternatives and references. It admits whatever the schema admits, except for properties that the
    schema does not name; a reader still has to check the rest.

    >>> structured({"type": "object", "required": ["id"], "description": "a row"})
    {'type': 'object'}
    >>> structured({"type": "array", "items": {"type": "string", "format": "date"}, "uniqueItems": True})
    {'type': 'array', 'items': {'type': 'string'}}
    """
    if not isinstance(schema, dict):
        return {}
    kept: dict[str, Any] = {key: schema[key] for key in _KEPT if key in schema}
    if "const" in schema:
        kept["enum"] = [schema["const"]]
    if "items" in schema and not isinstance(schema["items"], list):
        kept["items"] = structured(schema["items"])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            kept["anyOf"] = [structured(part) for part in schema[key]]
    for key in ("$defs", "definitions"):
        if key in schema:
            kept[key] = {name: structured(part) for name, part in schema[key].items()}
    # Of an object whose properties are not named, a grammar would allow those in `required` only.
    if properties := schema.get("properties"):
        kept["properties"] = {name: structured(part) for name, part in properties.items()}
        kept["required"] = [name for name in schema.get("required", ()) if name in properties]
    if "additionalProperties" in schema and (properties or schema["additionalProperties"]):
        extra = schema["additionalProperties"]
        kept["additionalProperties"] = structured(extra) if isinstance(extra, dict) else extra
    return kept
