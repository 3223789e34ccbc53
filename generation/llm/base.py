"""The protocol between the pipeline and a language model: one typed request, one completion."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from core.messages import AssistantMessage, Message, ToolSpec
from generation.llm.contexts import Context

Role = Literal["tool_maker", "schema_writer", "task_writer", "user", "agent", "tool_simulator", "judge"]


class LLMError(Exception):
    """No server answered after all retries: an infrastructure error, not a bad answer."""


class UnusableAnswerError(Exception):
    """A role gave no usable answer within its attempts: the dialogue is rejected, and `role` is to blame."""

    def __init__(self, role: Role, problem: str) -> None:
        super().__init__(f"{role}: {problem}")
        self.role = role
        self.problem = problem


class RejectedAnswerError(ValueError):
    """An answer that could be parsed but fails a check: worth a retry, but not malformed."""


@dataclass(frozen=True)
class Request:
    """One call of a model.

    `key` is unique within a run (dialogue/role/count); seeds derive from it. `affinity` names the dialogue, so that all
    its requests reach one replica. `context` holds what the prompt was rendered from; only the stand-in reads it.
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
    """One answer of a model.

    `message` is the parsed answer. Token counts are the server's (the stand-in counts words), None if it does not
    count; `cached_tokens` is the part of the prompt found in its prefix cache. `flaws` lists what the parser had to fix
    ("repaired", "unclosed"). `model` names the model that answered. `retries` is how many failed attempts came before;
    it and `seconds` differ between equal runs.
    """

    message: AssistantMessage
    finish_reason: str = "stop"
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    flaws: tuple[str, ...] = ()
    model: str = ""
    cached_tokens: int = 0
    seconds: float = field(default=0.0, compare=False)
    retries: int = field(default=0, compare=False)

    @property
    def is_cut(self) -> bool:
        """Whether the token limit or the model's context ended the answer."""
        return self.finish_reason == "length"


class LLM(Protocol):
    """A model behind one or more endpoints; `name` goes into provenance."""

    @property
    def name(self) -> str: ...

    async def complete(self, request: Request) -> Completion:
        """Answer one request. Raises LLMError if no server answers."""
        ...

    async def close(self) -> None: ...
