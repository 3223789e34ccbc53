"""The agent: the generation model answering with text or tool calls, as any OpenAI-compatible model does."""

from __future__ import annotations

from pydantic_core import PydanticSerializationError

from core.dialogue import Task
from core.messages import AssistantMessage, Message, SystemMessage, ToolSpec
from generation.llm.base import LLM, AgentContext, Request, UnusableAnswerError
from generation.prompts import render


def agent_system_message(domain: str) -> SystemMessage:
    """The system message of every dialogue of a domain."""
    return SystemMessage(content=render("agent", domain=domain.replace("_", " ")))


class Agent:
    """One dialogue's assistant; counts its requests so that each has its own key."""

    def __init__(self, llm: LLM, tools: tuple[ToolSpec, ...], dialogue_id: str) -> None:
        self.llm = llm
        self.tools = tools
        self.dialogue_id = dialogue_id
        self._count = 0

    async def respond(self, messages: tuple[Message, ...], task: Task, task_start: int) -> AssistantMessage:
        """The next assistant message, call ids made unique within the dialogue.
        Raises UnusableAnswerError where it is empty, no UTF-8 or cut off by the token limit, and LLMError.
        """
        request = Request(
            role="agent",
            messages=messages,
            key=f"{self.dialogue_id}/agent/{self._count}",
            affinity=self.dialogue_id,
            context=AgentContext(task=task, task_start=task_start),
            tools=self.tools,
        )
        self._count += 1
        completion = await self.llm.complete(request)
        message = completion.message
        if completion.finish_reason == "length":
            raise UnusableAnswerError("agent", "the answer was cut off by the token limit")
        if not message.tool_calls and not message.content.strip():
            raise UnusableAnswerError("agent", "the answer is empty")
        try:
            message.model_dump_json()
        except PydanticSerializationError as error:  # half a surrogate pair, which no file could hold
            raise UnusableAnswerError("agent", f"the answer is no text: {error}") from None
        if message.tool_calls:
            calls = tuple(
                call.model_copy(update={"id": f"call_{self._count}_{position}"})
                for position, call in enumerate(message.tool_calls)
            )
            message = message.model_copy(update={"tool_calls": calls})
        return message
