"""The weights-free stand-in for a large reasoning model: plays every role by rules, in the formats of a real model.

It receives the same requests as a real backend, so prompt rendering, parsing, validation and retries are the real ones.
An answer depends on the run's seed and the request's key alone: the same bytes whatever the concurrency.
"""

from __future__ import annotations

import asyncio
from random import Random

from core.messages import AssistantMessage
from core.settings import UserError
from generation.llm.base import Completion, Request
from generation.llm.contexts import (
    AgentContext,
    DomainContext,
    ExpansionContext,
    JudgeContext,
    LinkContext,
    OutlineContext,
    OutputSchemaContext,
    PolicyContext,
    QuestionsContext,
    SentenceContext,
    SqlToolsContext,
    TableContext,
    TaskWriterContext,
    ToolSimulatorContext,
    ToolSpecsContext,
    UserContext,
)
from generation.scripted import (
    database_writer,
    guide,
    judge,
    policy_writer,
    schema_writer,
    task_writer,
    tool_inventor,
    tool_maker,
    tool_simulator,
    user,
)
from generation.scripted.agent import Agent


class ScriptedLLM:
    """Implements generation.llm.base.LLM without weights. `error_rate` is the chance of a mistake of its agent where
    one is possible."""

    name = "scripted"

    def __init__(self, seed: int = 0, error_rate: float = 0.08) -> None:
        if not isinstance(error_rate, int | float) or not 0 <= error_rate <= 1:
            raise UserError(f"error_rate={error_rate} was given; a share between 0 and 1 is expected")
        self.seed = seed
        self.error_rate = error_rate

    async def complete(self, request: Request) -> Completion:
        # Let other dialogues run: the stand-in never waits, so it would block the event loop for a complete dialogue.
        await asyncio.sleep(0)
        message = self._answer(request, Random(f"{self.seed}/{request.key}"))
        texts = [
            message.content,
            message.reasoning_content or "",
            *(c.function.arguments for c in message.tool_calls or ()),
        ]
        return Completion(
            message=message,
            finish_reason="tool_calls" if message.tool_calls else "stop",
            model=self.name,
            prompt_tokens=sum(len(m.content.split()) for m in request.messages),
            completion_tokens=sum(len(text.split()) for text in texts),
        )

    async def close(self) -> None:
        """Does nothing: no resources to release."""

    def _answer(self, request: Request, rng: Random) -> AssistantMessage:
        match request.context:
            case AgentContext() as context:
                return self._agent(context, request, rng)
            case UserContext() as context:
                return _text("I look at what is still open in my goal.", user.answer(context, rng))
            case TaskWriterContext() as context:
                return _text("I pick rows from the view and combine a few requests.", task_writer.answer(context, rng))
            case DomainContext() as context:
                return _text("Its names say what it is about.", tool_inventor.domain(context))
            case SentenceContext() | OutlineContext() | LinkContext() | TableContext() as context:
                return _text("People and things first, then what happens.", database_writer.answer(context, rng))
            case SqlToolsContext() as context:
                return _text("The most connected tables come first.", tool_maker.answer(context, rng))
            case QuestionsContext() | ToolSpecsContext() | ExpansionContext() as context:
                return _invented(context, rng)
            case OutputSchemaContext() as context:
                return _text("Fields keep the types they have.", schema_writer.answer(context, rng))
            case PolicyContext() as context:
                return _text("I look for what the data allow and forbid.", policy_writer.answer(context, rng))
            case ToolSimulatorContext() as context:
                # One imaginary system per dialogue, the same for every caller and every call.
                system = f"{self.seed}/{request.affinity}"
                return _text("I invent a plausible value.", tool_simulator.answer(context, rng, system))
            case JudgeContext() as context:
                return _text("I go through the rubric.", judge.answer(context, rng, self.error_rate / 2))

    def _agent(self, context: AgentContext, request: Request, rng: Random) -> AssistantMessage:
        if context.task.kind == "guided":
            return guide.answer(context, request.messages, rng, self.error_rate)
        offered = {tool.name for tool in request.tools}
        return Agent(context, request.messages, rng, self.error_rate, offered).speak()


def _invented(context: QuestionsContext | ToolSpecsContext | ExpansionContext, rng: Random) -> AssistantMessage:
    match context:
        case QuestionsContext():
            return _text("I think of different people.", tool_inventor.questions(context, rng))
        case ToolSpecsContext():
            return _text("I look for what has to be found first.", tool_inventor.specs(context, rng))
    return _text("I look for what is missing.", tool_inventor.expansion(context, rng))


def _text(reasoning: str, content: str) -> AssistantMessage:
    return AssistantMessage(reasoning_content=reasoning, content=content)
