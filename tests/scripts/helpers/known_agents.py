"""Agents that know the exported tasks, in process and behind an OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import TypeAdapter

from core.messages import AssistantMessage, Message, ToolSpec
from evaluation.known_answers.heldout_agents import AgentClass, KnownAgent
from evaluation.known_answers.heldout_wrong_agents import AlwaysHelpful
from evaluation.known_answers.server import AnswerPolicy, Reply
from generation.worlds.task_line import TaskLine
from generation.worlds.worlds import OutsideModel

AGENTS: Mapping[str, AgentClass | None] = {"gold": KnownAgent, "silent": None, "careless": AlwaysHelpful}
"""The first solves every task, the second says nothing, the third ignores policies."""

_MESSAGES = TypeAdapter(tuple[Message, ...])
_FIELDS = {"role", "content", "tool_calls", "tool_call_id"}


def next_message(
    name: str, line: TaskLine, messages: tuple[Message, ...], tools: tuple[ToolSpec, ...]
) -> AssistantMessage:
    agent = AGENTS[name]
    if agent is None:
        return AssistantMessage(content="")
    return agent(line.task, messages[len(line.start.messages) :], tools, line.start.policy).speak()


def in_process(name: str, line: TaskLine) -> OutsideModel:
    """An agent for one task."""

    async def answer(messages: tuple[Message, ...], tools: tuple[ToolSpec, ...]) -> AssistantMessage:
        return next_message(name, line, messages, tools)

    return OutsideModel(name, answer)


def served(lines: Iterable[TaskLine]) -> AnswerPolicy:
    """The agent that a request's model names. Its task is the one that starts with most of the request's messages."""
    known = sorted(lines, key=lambda line: -len(line.start.messages))

    def answer(body: dict[str, Any]) -> Reply:
        messages = _MESSAGES.validate_python([_message(raw) for raw in body["messages"]])
        line = next(
            line for line in known if _texts(line.start.messages) == _texts(messages[: len(line.start.messages)])
        )
        specs = (tool["function"] for tool in body.get("tools") or ())
        tools = tuple(ToolSpec(name=s["name"], description=s["description"], parameters=s["parameters"]) for s in specs)
        return next_message(body["model"], line, messages, tools).model_dump(exclude_none=True)

    return answer


def _message(raw: dict[str, Any]) -> dict[str, Any]:
    fields = {key: value for key, value in raw.items() if key in _FIELDS and value not in (None, [])}
    return {"content": ""} | fields


def _texts(messages: Iterable[Message]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in messages]
