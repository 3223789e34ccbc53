"""The tools of the task writer prompt's example."""

from __future__ import annotations

from core.messages import ToolSpec

HIVES = (
    ToolSpec(
        name="find_hive",
        description="A hive.",
        parameters={"type": "object", "properties": {"nickname": {"type": "string"}}, "required": ["nickname"]},
        returns={"type": "object", "properties": {"hive_ref": {"type": "integer"}, "mite_score": {"type": "number"}}},
    ),
    ToolSpec(
        name="paint_queen",
        description="Paint it.",
        parameters={
            "type": "object",
            "properties": {"hive_ref": {"$ref": "#/$defs/ref"}, "paint": {"type": "string", "enum": ["blue", "red"]}},
            "required": ["hive_ref", "paint"],
            "$defs": {"ref": {"type": "integer"}},
        },
    ),
)
