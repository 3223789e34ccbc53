"""A seed with given tools, and a model that answers by key."""

from __future__ import annotations

import json
from typing import Any

from core.messages import ToolSpec
from generation.seeds.base import Seed
from generation.tools.from_questions import ToolmakingSettings
from generation.tools.toolset import Toolset


def spec(name: str, **types: str) -> dict[str, Any]:
    properties = {key: {"type": kind, "description": key} for key, kind in types.items()}
    parameters = {"type": "object", "properties": properties, "required": list(types)}
    return {"name": name, "description": f"What {name} does.", "parameters": parameters}


def nested(*specs: dict[str, Any]) -> str:
    return json.dumps([{"type": "function", "function": one} for one in specs])


GIVEN = (
    spec("search_flights", origin="string", destination="string"),
    spec("get_booking", booking_id="string"),
    spec("cancel_booking", booking_id="string"),
)


SEED = Seed(
    name="flights",
    description="An airline's bookings.",
    source="a file of tools",
    licence="CC-BY-4.0",
    tools=tuple(ToolSpec(**one) for one in GIVEN),
    rows={"bookings": [{"booking_id": "B7"}]},
)


SETTINGS = ToolmakingSettings(max_tools=20, batch=5, attempts=2, questions=3, expansion=10)


def names(toolset: Toolset) -> list[str]:
    return [tool.name for tool in toolset.tools]


def adds_up(toolset: Toolset) -> bool:
    """Every given, proposed or expanded tool is counted exactly once."""
    ends = ("merged_duplicates", "conflicts", "invalid", "trivial", "beyond_max", "kept")
    counts = toolset.counts
    return counts["given"] + counts["proposed"] + counts["expanded"] == sum(counts[end] for end in ends)
