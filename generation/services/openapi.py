"""An OpenAPI 3 document as a service: each operation is a tool.

Specification: https://spec.openapis.org/oas/v3.1.1. Swagger 2.0 is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from core.messages import ToolSpec
from core.settings import UserError
from generation.services.base import unique_names, valid_name
from generation.services.openapi_schemas import Schemas
from generation.specs.formats import parse_tool_spec

Place = Literal["path", "query", "header", "field", "body"]
"""Where an argument goes: into the URL, a header, a field of the body, or it is the body."""

METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")
_PLACES: tuple[Place, ...] = ("path", "query", "header")
_OWN_HEADERS = {"accept", "content-type", "authorization"}
"""Parameters of these names are to be ignored (OpenAPI 3.1.1, 4.8.12.1)."""
FORM = "application/x-www-form-urlencoded"
_MAX_DESCRIPTION = 1000  # characters


_Loader: Any = type("_Loader", (yaml.SafeLoader,), {})
"""Reads dates as the texts that they are in JSON. Made by type(), since PyYAML has no types to inherit from."""
_Loader.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_str)


@dataclass(frozen=True)
class Argument:
    """Where an argument of a tool goes, and its name there."""

    place: Place
    name: str


@dataclass(frozen=True)
class Operation:
    """One operation as a tool: what is sent where. `media_type` is the body's, empty without a body."""

    tool: ToolSpec
    method: str
    path: str
    arguments: dict[str, Argument]
    media_type: str = ""


@dataclass(frozen=True)
class Document:
    """A document's title and licence, its operations in their order, and why others cannot be used."""

    title: str
    licence: str
    operations: tuple[Operation, ...]
    unusable: tuple[str, ...]


def read_document(path: Path) -> Document:
    """Raises UserError for a file that is not an OpenAPI 3 document in JSON or YAML."""
    try:
        raw = _parsed(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} was given; expected: an OpenAPI document in JSON or YAML ({reason})") from None
    version = str(raw.get("openapi", "")) if isinstance(raw, dict) else ""
    if not version.startswith("3."):
        given = f"Swagger {raw['swagger']}" if isinstance(raw, dict) and "swagger" in raw else "something else"
        raise UserError(f"{path} was given, which is {version or given}; expected: OpenAPI 3.0 or 3.1")
    paths, information = raw.get("paths"), raw.get("info")
    information = information if isinstance(information, dict) else {}
    found, unusable = _operations(raw, paths if isinstance(paths, dict) else {})
    licence = information.get("license")
    return Document(
        title=str(information.get("title") or path.stem),
        licence=str(licence.get("name", "")) if isinstance(licence, dict) else "",
        operations=tuple(found),
        unusable=tuple(unusable),
    )


def _parsed(text: str) -> Any:
    """JSON may be indented with tabs, which YAML forbids."""
    try:
        return json.loads(text)
    except ValueError:
        return yaml.load(text, Loader=_Loader)


def _operations(document: dict[str, Any], paths: dict[Any, Any]) -> tuple[list[Operation], list[str]]:
    found: list[Operation] = []
    unusable: list[str] = []
    for path, method, item in _items(document, paths, unusable):
        try:
            found.append(_operation(document, path, method, item))
        except (ValueError, TypeError, RecursionError) as error:
            unusable.append(f"{method.upper()} {path}: {error}")
    names = unique_names(operation.tool.name for operation in found)
    named = [
        replace(operation, tool=operation.tool.model_copy(update={"name": name}))
        for name, operation in zip(names, found, strict=True)
    ]
    return named, unusable


def _items(
    document: dict[str, Any], paths: dict[Any, Any], unusable: list[str]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(path, method, path item) of each operation."""
    for path, raw in paths.items():
        try:
            item = Schemas(document, "readOnly").target(raw)
        except ValueError as error:
            unusable.append(f"{path}: {error}")
            continue
        yield from ((str(path), method, item) for method in METHODS if method in item)


def _operation(document: dict[str, Any], path: str, method: str, item: dict[str, Any]) -> Operation:
    """Raises ValueError for an operation that cannot be called with JSON arguments."""
    schemas = Schemas(document, "readOnly")
    raw = schemas.target(item[method])
    parts = [*_parameters(schemas, item, raw)]
    body = schemas.target(raw["requestBody"]) if "requestBody" in raw else {}
    media_type, of_body = _body(schemas, body)
    parts += of_body
    names = list(unique_names(valid_name(argument.name, "argument") for argument, _, _ in parts))
    parameters: dict[str, Any] = {
        "type": "object",
        "properties": {name: schema for name, (_, schema, _) in zip(names, parts, strict=True)},
        "required": [name for name, (_, _, required) in zip(names, parts, strict=True) if required],
    }
    if definitions := schemas.definitions():
        parameters["$defs"] = definitions
    name = raw.get("operationId")
    function = {
        "name": valid_name(name if isinstance(name, str) else f"{method} {path}", method),
        "description": _description(raw),
        "parameters": parameters,
    }
    if returns := _returns(document, raw):
        function["returns"] = returns
    arguments = {name: argument for name, (argument, _, _) in zip(names, parts, strict=True)}
    return Operation(parse_tool_spec(function), method, path, arguments, media_type)


_Part = tuple[Argument, Any, bool]
"""An argument, its schema, and whether it is required."""


def _parameters(schemas: Schemas, item: dict[str, Any], operation: dict[str, Any]) -> Iterator[_Part]:
    """Those of the path, replaced by those of the operation with the same place and name. Raises ValueError for a
    required one that no caller can give: a cookie."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for raw in [*(item.get("parameters") or ()), *(operation.get("parameters") or ())]:
        parameter = schemas.target(raw)
        found[str(parameter.get("in")), str(parameter.get("name"))] = parameter
    for (place, name), parameter in found.items():
        required = parameter.get("required") is True or place == "path"
        known = next((known for known in _PLACES if known == place), None)
        if known is None or (place == "header" and name.lower() in _OWN_HEADERS):
            if required and known is None:
                raise ValueError(f"its parameter {name!r} belongs into {place}; expected: path, query or header")
            continue
        schema = parameter.get("schema")
        if schema is None:
            content = schemas.target(parameter.get("content") or {})
            schema = schemas.target(next(iter(content.values()), {})).get("schema", {})
        schema = schemas.standalone(schema)
        if isinstance(parameter.get("description"), str) and isinstance(schema, dict):
            schema = schema | {"description": parameter["description"].strip()}
        yield Argument(known, name), schema, required


def _body(schemas: Schemas, body: dict[str, Any]) -> tuple[str, list[_Part]]:
    """The body's media type and its parts: the fields of an object, else the whole of it. Raises ValueError for a
    required body that is neither JSON nor a form."""
    content = body.get("content")
    content = content if isinstance(content, dict) else {}
    required = body.get("required") is True
    media_type = next((name for name in content if _is_json(str(name))), FORM if FORM in content else "")
    if not media_type:
        if required:
            raise ValueError(f"its body is {', '.join(map(str, content)) or 'not described'}; expected: JSON or a form")
        return "", []
    schema = schemas.standalone(schemas.target(content[media_type]).get("schema", {}))
    fields = _fields(schema)
    if not fields:
        return str(media_type), [(Argument("body", "body"), schema, required)]
    properties, listed = fields
    return str(media_type), [
        (Argument("field", name), part, required and name in listed) for name, part in properties.items()
    ]


def _fields(schema: Any) -> tuple[dict[str, Any], list[str]] | None:
    """The properties of an object and those that are required, `allOf` included; None for anything else."""
    if not isinstance(schema, dict) or schema.keys() & {"anyOf", "oneOf", "$ref"}:
        return None
    properties: dict[str, Any] = {}
    required: list[str] = []
    for part in schema.get("allOf") or ():
        if not (fields := _fields(part)):
            return None
        properties |= fields[0]
        required += fields[1]
    if isinstance(schema.get("properties"), dict):
        properties |= schema["properties"]
        required += [name for name in schema.get("required") or () if isinstance(name, str)]
    return (properties, required) if properties else None


def _is_json(media_type: str) -> bool:
    name = media_type.partition(";")[0].strip().lower()
    return name == "application/json" or name.endswith("+json")


def _returns(document: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any] | None:
    """The schema of what a successful call returns; None if it is not JSON, or not described usably."""
    schemas = Schemas(document, "writeOnly")
    responses = operation.get("responses")
    responses = responses if isinstance(responses, dict) else {}
    success = next((response for code, response in responses.items() if str(code).startswith("2")), None)
    try:
        content = schemas.target(success).get("content") if success is not None else None
        media = next((part for name, part in (content or {}).items() if _is_json(str(name))), None)
        schema = schemas.standalone(schemas.target(media)["schema"]) if media is not None else None
        if not isinstance(schema, dict) or not schema:
            return None
        definitions = schemas.definitions()
        returns = schema | ({"$defs": definitions} if definitions else {})
        parse_tool_spec({"name": "tool", "description": "", "returns": returns})
    except (ValueError, KeyError, RecursionError):
        return None
    return returns


def _description(operation: dict[str, Any]) -> str:
    texts = [operation.get("summary"), operation.get("description")]
    stated = [" ".join(text.split()) for text in texts if isinstance(text, str) and text.strip()]
    joined = " ".join(text if text.endswith((".", "!", "?")) else f"{text}." for text in dict.fromkeys(stated))
    return joined if len(joined) <= _MAX_DESCRIPTION else f"{joined[: _MAX_DESCRIPTION - 1]}…"
