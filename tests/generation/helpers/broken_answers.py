"""Completions to break, and the requests they answer."""

from __future__ import annotations

import json

from core.messages import AssistantMessage, ToolCall, ToolSpec
from generation.llm.base import Completion, Request, Role
from generation.llm.contexts import AgentContext, JudgeContext
from tests.generation.helpers.pipeline_runs import TASK

TOOL = ToolSpec(
    name="get_pet",
    description="d",
    parameters={
        "type": "object",
        "properties": {"pet_id": {"type": "integer"}, "name": {"type": "string"}},
        "required": ["pet_id", "name"],
        "additionalProperties": False,
    },
)
JUDGED = {"judgment": "valid", "reasoning": 'It\'s all there: "fine".', "bullets": [], "blame": None}
THOUGHT = "First I look it up."


def completion_of(content: str = "", *calls: ToolCall) -> Completion:
    message = AssistantMessage(content=content, reasoning_content=THOUGHT, tool_calls=calls or None)
    return Completion(message, "tool_calls" if calls else "stop", prompt_tokens=20, completion_tokens=7)


CALL = ToolCall.make("c0", "get_pet", {"pet_id": 7, "name": "Rex"})
WORDS, CALLED, IN_JSON = completion_of("Rex is seven."), completion_of("", CALL), completion_of(json.dumps(JUDGED))


def request(number: int = 0, role: Role = "judge", tools: tuple[ToolSpec, ...] = ()) -> Request:
    context = AgentContext(TASK, 0) if role == "agent" else JudgeContext(TASK, ())
    return Request(role=role, messages=(), key=f"d/{role}/{number}", affinity="d", context=context, tools=tools)


AGENT = request(role="agent", tools=(TOOL,))
