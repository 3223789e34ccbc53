"""Typed contexts from which each role's prompt is rendered; the stand-in reads them instead of the prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from core.dialogue import Difficulty, Task
from core.dual_control import UserAction
from core.messages import Message, ToolSpec
from core.policy import Policy, Rule
from core.request_kinds import RequestKind
from core.settings import Settings
from generation.database.schema import DatabaseSchema
from generation.database.spec import Outline, TableOutline, TableSpec
from generation.prompts.scene import Scene


@dataclass(frozen=True)
class DomainContext:
    """Title and description of a domain with this schema or these tools; `hint` is what its files are called."""

    hint: str
    tools: tuple[ToolSpec, ...]
    schema: DatabaseSchema | None


@dataclass(frozen=True)
class SentenceContext:
    """Databases: one sentence about a service in this area of life."""

    area: str


@dataclass(frozen=True)
class OutlineContext:
    """Databases: the tables of a service, given one sentence about it; `tables` and `rows` are the fewest and most.
    `refused` says why earlier databases were not taken."""

    sentence: str
    tables: tuple[int, int]
    rows: tuple[int, int]
    refused: tuple[str, ...] = ()


@dataclass(frozen=True)
class LinkContext:
    """Databases: which of these links, each in words, joins tables of an outline that nothing joins yet."""

    sentence: str
    outline: Outline
    links: tuple[str, ...]


@dataclass(frozen=True)
class TableContext:
    """Databases: the columns of one table of an outline, `columns` at least and at most; `parents` are the complete
    tables that it refers to."""

    sentence: str
    outline: Outline
    table: TableOutline
    parents: tuple[TableSpec, ...]
    columns: tuple[int, int]


@dataclass(frozen=True)
class SqlToolsContext:
    """Stage 1, domains with a database: up to `limit` tools with SQL for a relational schema, besides `tools`, which it
    has already. `uncovered` says what these do not do yet; `refused` are the proposals of the last answer that were
    not valid, each with the reason."""

    domain: str
    description: str
    schema: DatabaseSchema
    limit: int
    tools: tuple[ToolSpec, ...] = ()
    uncovered: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


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
    description: str
    question: str
    tools: tuple[ToolSpec, ...]


@dataclass(frozen=True)
class ExpansionContext:
    """Stage 1: up to `limit` tools that the set lacks."""

    domain: str
    description: str
    tools: tuple[ToolSpec, ...]
    limit: int


@dataclass(frozen=True)
class OutputSchemaContext:
    """Stage 2: the schema of what `tool` returns. `entities` maps each known field to its JSON type; `conflicts` lists
    what was wrong with the last answer."""

    tool: ToolSpec
    entities: dict[str, str]
    conflicts: tuple[str, ...] = ()


@dataclass(frozen=True)
class PolicyContext:
    """Up to `limit` rules of a service, besides `rules`, which it has already. `rows` are some of its data, by table;
    `executable` says whether tools really run, so that rules can look at the state. `refused` are the rules of the last
    answer that cannot be used, each with the reason."""

    domain: str
    description: str
    tools: tuple[ToolSpec, ...]
    schema: DatabaseSchema | None
    rows: dict[str, list[dict[str, Any]]]
    executable: bool
    limit: int
    rules: tuple[Rule, ...] = ()
    refused: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskWriterContext:
    """The next task of a dialogue.

    `view` is a limited look at the data: table -> some rows. `previous` are the dialogue's tasks so far, `facts` the
    field values that the user has learnt; with `want_follow_up` the task builds on them. `style` is "question" for the
    task-oriented pipeline, "descriptive" for a user simulator's latent goal; `kind` is the kind of request. The plan
    should use one of the tools `targets`, if there are any; `user` says who the task is for, "" for anyone.
    """

    scene: Scene
    style: str
    tools: tuple[ToolSpec, ...]
    schema: DatabaseSchema | None
    view: dict[str, list[dict[str, Any]]]
    previous: tuple[Task, ...]
    facts: dict[str, Any]
    want_follow_up: bool
    difficulty: Difficulty
    kind: RequestKind = "plain"
    evidence_rows: int = 0
    policy: Policy | None = None
    targets: tuple[str, ...] = ()
    user: str = ""


class UserRules(Settings):
    """Rules of the user simulator's behaviour (paper: Stage 3). Each one can be switched off for an ablation."""

    max_subtasks_per_turn: int | None = Field(
        ge=1, description="Most subtasks that one message brings up, one or two in the paper; null drops the rule."
    )
    disclosure: Literal["incremental", "upfront", "on_request"] = Field(
        description="Whether the user gives details bit by bit, all at once or only when asked."
    )
    feedback: bool = Field(description="Whether the user comments on answers.")
    clarification: bool = Field(description="Whether the user asks for clarification and corrects itself.")
    confirmation: bool = Field(description="Whether an unsure user asks for confirmation before changes.")
    patience: int = Field(ge=1, description="Unhelpful answers in a row after which the user gives up.")
    manner: Literal["cooperative", "adversarial"] = Field(
        description="An adversarial user changes its mind, presses and digresses, within its goal."
    )


@dataclass(frozen=True)
class Achieved:
    """What execution says about a subgoal: whether the environment's state has its changes (None: it changes nothing),
    and whether the assistant has told the user every value that it asks for."""

    in_state: bool | None
    told: bool


@dataclass(frozen=True)
class UserContext:
    """What the user simulator knows: its goal, what is special about it (`task`, see core.request_kinds.RequestKind)
    and its rules, never the agent's tool names or gold calls; `tools` are the user's own, and `actions` what the user
    did with them since the assistant's latest message.

    `achieved` is execution's verdict on each subgoal, for the stand-in alone; None where the assistant's words decide.
    """

    task: Task
    persona: str
    rules: UserRules
    transcript: tuple[Message, ...] = ()
    task_start: int = 0
    first_task: bool = True
    achieved: tuple[Achieved, ...] | None = None
    tools: tuple[ToolSpec, ...] = ()
    actions: tuple[UserAction, ...] = ()


@dataclass(frozen=True)
class AgentContext:
    """The current task and the policy, for the stand-in alone: a real model sees only messages and tools."""

    task: Task
    task_start: int
    policy: Policy | None = None


@dataclass(frozen=True)
class ToolSimulatorContext:
    """One call to simulate. `known` holds what the ledger has on record: "field=value" of an identifier -> its
    fields."""

    tool: ToolSpec
    arguments: dict[str, Any]
    known: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class JudgeContext:
    """One task and its part of the transcript, for the LRM judge, and the policy that the assistant had to keep."""

    task: Task
    transcript: tuple[Message, ...]
    policy: Policy | None = None


Context = (
    DomainContext
    | SentenceContext
    | OutlineContext
    | LinkContext
    | TableContext
    | SqlToolsContext
    | QuestionsContext
    | ToolSpecsContext
    | ExpansionContext
    | OutputSchemaContext
    | PolicyContext
    | TaskWriterContext
    | UserContext
    | AgentContext
    | ToolSimulatorContext
    | JudgeContext
)
