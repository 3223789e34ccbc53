"""The protocol between the pipeline and a language model: one typed request, one completion."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from core.messages import AssistantMessage, Message, ToolSpec
from generation.llm.contexts import Context

Role = Literal["tool_maker", "schema_writer", "task_writer", "user", "agent", "tool_simulator", "judge"]


class LLMError(Exception):
    """The model could not be asked, after all retries: infrastructure, not a bad answer."""


class UnusableAnswerError(Exception):
    """A role answered, but nothing that can be used within its allowed attempts: the dialogue is rejected, `role` is to blame."""

    def __init__(self, role: Role, problem: str) -> None:
        super().__init__(f"{role}: {problem}")
        self.role = role
        self.problem = problem


class RejectedAnswerError(ValueError):
    """An answer that could be read but does not hold: worth asking again, but not malformed."""


@dataclass(frozen=True)
class Request:
    """One call of a model.

    `key` names it uniquely within a run (dialogue/role/count): seeds derive from it. `affinity` names the dialogue, so that
    all its calls reach one replica. `context` is what the prompt was rendered from; only the stand-in reads it.
    """

    role: Role
    messages: tuple[Message, ...]
    key: str
    affinity: str
    context: Context
    tools: tuple[ToolSpec, ...] = ()
    json_schema: dict[str, Any] | None = None


@dataclass(frozen=True)
class Completion:
    """`message` is the parsed answer; tokens are the server's own counts (the stand-in counts words), `cached_tokens` those of
    the prompt that it had in its prefix cache. `flaws` names what the parser had to mend in it ("repaired", "unclosed").
    `retries` were needed before a server gave it; they and `seconds` differ between equal runs."""

    message: AssistantMessage
    finish_reason: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    flaws: tuple[str, ...] = ()
    cached_tokens: int = 0
    seconds: float = field(default=0.0, compare=False)
    retries: int = field(default=0, compare=False)


class LLM(Protocol):
    """A model behind one or more endpoints. `name` says which, for provenance."""

    @property
    def name(self) -> str: ...

    async def complete(self, request: Request) -> Completion:
        """Answer one request. Raises LLMError when no answer can be had."""
        ...

    async def close(self) -> None: ...
