"""What each role's prompt is rendered from, as typed values: the stand-in reads these instead of the prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from core.dialogue import Task
from core.messages import Message, ToolSpec
from core.settings import Settings
from generation.database.schema import DatabaseSchema


@dataclass(frozen=True)
class SqlToolsContext:
    """Tools with SQL for a relational schema are wanted."""

    schema: DatabaseSchema
    max_tools: int


@dataclass(frozen=True)
class QuestionsContext:
    """Stage 1: `count` questions that would need tools like `tools`."""

    domain: str
    description: str
    tools: tuple[ToolSpec, ...]
    count: int


@dataclass(frozen=True)
class ToolSpecsContext:
    """Stage 1: the tools that `question` needs."""

    domain: str
    question: str
    tools: tuple[ToolSpec, ...]


@dataclass(frozen=True)
class ExpansionContext:
    """Stage 1: up to `limit` tools that the set lacks."""

    domain: str
    tools: tuple[ToolSpec, ...]
    limit: int


@dataclass(frozen=True)
class OutputSchemaContext:
    """Stage 2: the schema of what `tool` returns. `entities` are the fields known so far: name -> JSON type; `conflicts` what
    was wrong with the last answer."""

    tool: ToolSpec
    entities: dict[str, str]
    conflicts: tuple[str, ...] = ()


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


class UserRules(Settings):
    """How the user simulator behaves (Stage 3, user simulator). Each rule can be switched off for an ablation.

    `max_subtasks_per_turn` is the paper's one or two; None drops the rule. `disclosure`: details come bit by bit, at once, or
    only on request. `feedback`: it comments on answers; `clarification`: it asks back and corrects; `confirmation`: it asks to
    confirm changes before they are made when unsure. `patience` is how many unhelpful answers in a row it bears before it
    gives up. `manner` is "cooperative", or "adversarial": it changes its mind, presses and digresses, within its goal.
    """

    max_subtasks_per_turn: int | None = Field(ge=1)
    disclosure: Literal["incremental", "upfront", "on_request"]
    feedback: bool
    clarification: bool
    confirmation: bool
    patience: int = Field(ge=1)
    manner: Literal["cooperative", "adversarial"]


@dataclass(frozen=True)
class UserContext:
    """What the user simulator knows: its goal and the rules, never tool names or gold calls."""

    goal: str
    subgoals: tuple[str, ...]
    persona: str
    rules: UserRules
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
    """`known` is what the ledger already says of records: "field=value" of an identifier -> its fields."""

    tool: ToolSpec
    arguments: dict[str, Any]
    known: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class JudgeContext:
    task: Task
    transcript: tuple[Message, ...]


Context = (
    SqlToolsContext
    | QuestionsContext
    | ToolSpecsContext
    | ExpansionContext
    | OutputSchemaContext
    | TaskWriterContext
    | UserContext
    | AgentContext
    | ToolSimulatorContext
    | JudgeContext
)
