"""The protocol between the pipeline and a language model: one typed request, one completion."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from core.dialogue import Task
from core.messages import AssistantMessage, Message, ToolSpec
from generation.databases import DatabaseSchema

Role = Literal["tool_maker", "task_writer", "user", "agent", "tool_simulator", "judge"]


class LLMError(Exception):
    """The model could not be asked, after all retries: infrastructure, not a bad answer."""


class UnusableAnswerError(Exception):
    """A role answered, but nothing that can be used within its allowed attempts: the dialogue is rejected, `role` is to blame."""

    def __init__(self, role: Role, problem: str) -> None:
        super().__init__(f"{role}: {problem}")
        self.role = role
        self.problem = problem


@dataclass(frozen=True)
class ToolMakerContext:
    schema: DatabaseSchema
    max_tools: int


@dataclass(frozen=True)
class TaskWriterContext:
    """`view` is a limited look at the data: table -> some rows. `previous` are the tasks already in the dialogue;
    `facts` are field values the user has learnt so far; `want_follow_up` asks for a task that extends them. `style` is
    "question" for the task-oriented pipeline, "descriptive" for a user simulator's latent goal."""

    domain: str
    style: str
    tools: tuple[ToolSpec, ...]
    schema: DatabaseSchema | None
    view: dict[str, list[dict[str, Any]]]
    previous: tuple[Task, ...]
    facts: dict[str, Any]
    want_follow_up: bool
    difficulty: str


@dataclass(frozen=True)
class UserContext:
    """What the user simulator knows: its goal and the rules, never tool names or gold calls."""

    goal: str
    subgoals: tuple[str, ...]
    persona: str
    max_subtasks_per_turn: int
    transcript: tuple[Message, ...] = ()
    task_start: int = 0
    first_task: bool = True


@dataclass(frozen=True)
class AgentContext:
    """The task at hand, for the stand-in alone: a real model sees only the messages and the tools."""

    task: Task
    task_start: int


@dataclass(frozen=True)
class ToolSimulatorContext:
    tool: ToolSpec
    arguments: dict[str, Any]


@dataclass(frozen=True)
class JudgeContext:
    task: Task
    transcript: tuple[Message, ...]


Context = ToolMakerContext | TaskWriterContext | UserContext | AgentContext | ToolSimulatorContext | JudgeContext


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
    """`message` is the parsed answer; tokens are the server's own counts (the stand-in counts words)."""

    message: AssistantMessage
    finish_reason: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = field(default=0.0, compare=False)


class LLM(Protocol):
    """A model behind one or more endpoints. `name` says which, for provenance."""

    @property
    def name(self) -> str: ...

    async def complete(self, request: Request) -> Completion:
        """Answer one request. Raises LLMError when no answer can be had."""
        ...

    async def close(self) -> None: ...
