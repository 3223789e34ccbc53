"""A simulated environment with tools on visits to a vet."""

from __future__ import annotations

from core.messages import ToolSpec
from generation.environments.simulated.environment import (
    SimulatedEnvironment,
    SimulatedEnvironmentFactory,
)
from generation.llm.meter import Meter
from generation.tools.toolset import Toolset
from tests.generation.helpers.pipeline_runs import ListedAnswers

PARAMETERS = {"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]}


ID = {"type": "object", "properties": {"animal_id": {"type": "integer"}, "name": {"type": "string"}}}


ROWS = {"type": "array", "items": {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}}


TOOLS = (
    ToolSpec(name="list_visits", description="The visits of a day.", parameters=PARAMETERS, returns=ROWS),
    ToolSpec(name="get_weather", description="The weather.", parameters=PARAMETERS),
    ToolSpec(name="get_animal", description="One animal.", parameters=ID, returns={"type": "object"}),
    ToolSpec(name="rename_animal", description="Another name.", parameters=ID),
)


def environment(*texts: str, dialogue: str = "d", **options: int) -> tuple[SimulatedEnvironment, ListedAnswers, Meter]:
    llm = ListedAnswers(list(texts))
    meter = Meter(llm)
    toolset = Toolset(domain="zoo", description="A zoo.", tools=TOOLS)
    return SimulatedEnvironmentFactory(**options).for_domain(toolset, meter, dialogue).open(), llm, meter


def prompts(llm: ListedAnswers) -> list[str]:
    return [request.messages[0].content for request in llm.requests]
