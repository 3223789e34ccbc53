"""The tools that BFCL's tasks declare, from the official package's data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def declared_tools(data: Path) -> dict[str, str]:
    """Name -> description of every distinct tool in the folder `data` of the official package: those of single turns
    are in the tasks, those of multi-turn and memory tasks in files of their own. Empty if there is no such folder."""
    tools: dict[str, str] = {}
    for path in sorted(data.glob("BFCL_v4_*.json")):
        if "format_sensitivity" in path.name:  # names tasks of other files
            continue
        for task in _lines(path):
            declared = task.get("function") or []
            tools |= {
                tool["name"]: tool["description"] for tool in (declared if isinstance(declared, list) else [declared])
            }
    for path in sorted((data / "multi_turn_func_doc").glob("*.json")):
        tools |= {tool["name"]: tool["description"] for tool in _lines(path)}
    return tools


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
