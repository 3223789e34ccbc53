"""Types of fields that are JSON strings on disk, so that their keys may differ from line to line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, PlainSerializer

M = TypeVar("M")


def parse_json(value: Any) -> Any:
    """A value, or the one that a JSON string on disk stands for."""
    return json.loads(value) if isinstance(value, str) else value


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _dump_models(value: tuple[BaseModel, ...]) -> str:
    return json.dumps([item.model_dump(exclude_none=True) for item in value], ensure_ascii=False)


def _dump_model(value: BaseModel | None) -> str:
    return value.model_dump_json(exclude_none=True) if value else "null"


def _dump_roles(value: Mapping[str, BaseModel]) -> str:
    return _dump({name: usage.model_dump() for name, usage in value.items()})


JsonObject = Annotated[dict[str, Any], BeforeValidator(parse_json), PlainSerializer(_dump, return_type=str)]
JsonModel = Annotated[M, BeforeValidator(parse_json), PlainSerializer(_dump_model, return_type=str)]
JsonModels = Annotated[tuple[M, ...], BeforeValidator(parse_json), PlainSerializer(_dump_models, return_type=str)]
JsonRoles = Annotated[dict[str, M], BeforeValidator(parse_json), PlainSerializer(_dump_roles, return_type=str)]
