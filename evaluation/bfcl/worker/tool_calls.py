"""Tool calls of the evaluated model: which are safe to evaluate, which fit their schema, and how they enter the
history.

Depends only on jsonschema, which both environments have.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, UnknownType

JsonObject = dict[str, Any]


def objection(name: str, arguments: str, executable: Mapping[str, Set[str]]) -> str | None:
    """Why a call must not be evaluated, worded as Python's error; None if it may be. `executable` maps each tool to its
    argument names."""
    if name not in executable:
        return f"name {name!r} is not defined"
    try:
        parsed = json.loads(arguments)
    except ValueError:
        return None  # not JSON: the official decoder rejects it before anything runs
    unknown = [key for key in parsed if key not in executable[name]] if isinstance(parsed, dict) else []
    return f"{name}() got an unexpected keyword argument {unknown[0]!r}" if unknown else None


def fits(name: str, arguments: str, declared: JsonObject) -> bool:
    """Whether a call names a declared tool and its arguments fit that tool's schema."""
    try:
        return name in declared and Draft202012Validator(declared[name]).is_valid(json.loads(arguments))
    except (ValueError, SchemaError, UnknownType):
        return False


def as_history(message: JsonObject, reasoning: str) -> JsonObject:
    """The reply as part of the next request. Arguments that are not a JSON object become {}: servers refuse a request
    with anything else."""
    history: JsonObject = {"role": "assistant", "content": message.get("content")}
    if reasoning:
        history |= {"reasoning": reasoning, "reasoning_content": reasoning}
    if calls := message.get("tool_calls"):
        history["tool_calls"] = [
            {
                "id": call.get("id") or f"call_{position}",
                "type": "function",
                "function": {
                    "name": call["function"]["name"],
                    "arguments": call["function"]["arguments"] if is_object(call["function"]["arguments"]) else "{}",
                },
            }
            for position, call in enumerate(calls)
        ]
    return history


def is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
