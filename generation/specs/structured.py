"""JSON Schemas for structured output: what every server's grammar supports of a schema."""

from __future__ import annotations

from typing import Any


def object_schema(
    required: dict[str, Any], optional: dict[str, Any] | None = None, others: bool = False
) -> dict[str, Any]:
    """The schema of an object with these properties; servers write them in this order. `others` allows further ones."""
    properties = required | (optional or {})
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": others}


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
        # A part without constraints, such as one of nothing but "required", would free the grammar of the properties.
        if key in schema and all(parts := [structured(part) for part in schema[key]]):
            kept["anyOf"] = parts
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


def with_whole_records(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema in which every object that says nothing of "required" has all its properties: a system returns whole
    records, and a grammar without it lets a model leave out most of them.

    >>> with_whole_records({"type": "array", "items": {"properties": {"id": {"type": "integer"}}}})
    {'type': 'array', 'items': {'properties': {'id': {'type': 'integer'}}, 'required': ['id']}}
    """
    whole = dict(schema)
    for key in ("properties", "$defs", "definitions"):
        if isinstance(parts := schema.get(key), dict):
            whole[key] = {name: _whole_part(part) for name, part in parts.items()}
    for key in ("anyOf", "oneOf", "allOf"):
        if isinstance(parts := schema.get(key), list):
            whole[key] = [_whole_part(part) for part in parts]
    for key in ("items", "additionalProperties"):
        if key in schema:
            whole[key] = _whole_part(schema[key])
    if whole.get("properties") and "required" not in whole:
        whole["required"] = list(whole["properties"])
    return whole


def _whole_part(part: Any) -> Any:
    return with_whole_records(part) if isinstance(part, dict) else part
