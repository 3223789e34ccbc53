"""Messages of conversations in OpenAI's format."""

from __future__ import annotations

from typing import Any


def call(name: str, arguments: Any, call_id: str = "x") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def user(content: Any = "Find it.") -> dict[str, Any]:
    return {"role": "user", "content": content}


PLAIN = [
    {"role": "system", "content": "Be kind."},
    user(),
    {"role": "assistant", "content": None, "tool_calls": [call("find", '{"id": 3}')]},
    {"role": "tool", "tool_call_id": "x", "name": "find", "content": '{"id": 3, "name": "Ada"}'},
    {"role": "assistant", "content": "It is Ada."},
]
