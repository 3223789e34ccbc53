"""One line of a data set: the dialogue, its tasks with their proofs, the verdict and the provenance.

Every line has the same keys, and values whose own keys differ from line to line (tools, tasks, verdict, state, usage,
provenance, arguments) are JSON strings, so that `datasets.load_dataset("json")` reads any files of dialogues together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from core.dual_control import Actor, UserAction, check_user_actions
from core.json_fields import JsonModel, JsonModels, JsonObject
from core.messages import (
    AssistantMessage,
    ContractError,
    Frozen,
    Message,
    ToolCall,
    ToolMessage,
    ToolSpec,
    UserMessage,
    check_transcript,
)
from core.policy import Policy
from core.provenance import Provenance
from core.request_kinds import NOTHING_HAPPENS, RequestKind
from core.usage import Usage

JsonTools = JsonModels[ToolSpec]

Difficulty = Literal["easy", "medium", "hard"]


class PlannedCall(Frozen):
    """One call of a task's solution. Arguments may be placeholders for results of earlier calls (core.placeholders)."""

    tool: str
    arguments: JsonObject
    actor: Actor = Field(default="agent", description="whose tool it is")
    subgoal: int = Field(default=0, description="index into Task.subgoals")
    tell: tuple[str, ...] = Field(
        default=(),
        description="result fields whose values must be reported to the user; placeholders for computed answers",
    )


class Rubric(Frozen):
    """What a judge checks the dialogue against (Stage 3, task generation)."""

    criteria: tuple[str, ...]
    tool_pattern: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()

    @property
    def bullets(self) -> tuple[str, ...]:
        """All criteria, expected calls and checkpoints: a judge's prompt numbers them from 1."""
        return (*self.criteria, *self.tool_pattern, *self.checkpoints)


class Evidence(Frozen):
    """What one decision of a task rests on at most: the look-ups that it needs, and the rows among which it chooses."""

    lookups: int = 0
    rows: int = 0


class Task(Frozen):
    """A latent goal of the user; proving it in an executable environment sets `gold_calls` and the fields after it."""

    task_id: str
    goal: str = Field(description="declarative and self-contained")
    subgoals: tuple[str, ...] = Field(description="the parts of the goal, in the order in which the user wants them")
    difficulty: Difficulty
    rubric: Rubric
    plan: tuple[PlannedCall, ...] = Field(default=(), description="the intended solution, with placeholders")
    gold_calls: tuple[PlannedCall, ...] = Field(default=(), description="the plan's calls with concrete arguments")
    told_values: tuple[str, ...] = Field(default=(), description="values that the user must learn")
    mutates: bool = Field(default=False, description="whether the gold calls change the environment's state")
    follows_from: str | None = Field(default=None, description="task_id of the task whose outcome this one extends")
    kind: RequestKind = "plain"
    withheld: tuple[str, ...] = Field(default=(), description="values of the goal that the user gives only when asked")
    first_wish: str = Field(default="", description="what the user asks for first and then replaces by the goal")
    first_arguments: JsonObject = Field(
        default_factory=dict, description="arguments of the plan's last call as the first wish had them"
    )
    late_tools: tuple[str, ...] = Field(
        default=(), description="tools that are offered only after the assistant has said that it lacks them"
    )
    rule_id: str | None = Field(default=None, description="the rule of the policy that forbids the plan's last call")
    workflow_id: str | None = Field(default=None, description="the procedure of the policy that the plan follows")
    subject: JsonObject = Field(default_factory=dict, description="what the procedure is about: fields of its row")
    evidence: Evidence = Evidence()

    @property
    def expected_plan(self) -> tuple[PlannedCall, ...]:
        """The part of the plan that a correct assistant makes."""
        match self.kind:
            case "forbidden":
                return self.plan[:-1]
            case "not_found":
                return self.plan[:1]
            case "withdrawn" | "no_tool" | "irrelevant":
                return ()
            case _:
                return self.plan

    @property
    def is_proved(self) -> bool:
        """Whether execution decides what must have happened; of a given goal without calls only a judge can tell."""
        return bool(self.gold_calls) or self.kind in NOTHING_HAPPENS


class Check(Frozen):
    """One decidable statement about a dialogue, or about one of its tasks, and whether it is true."""

    name: str
    passed: bool
    task: int | None = Field(
        default=None, description="number of the task; None for the dialogue, and in files of earlier versions"
    )
    detail: str = ""


RubricClass = Literal["Critical", "Structural", "NonCritical", "InvalidRubric"]
Blame = Literal["user", "agent", "tool", "judge", "task"]
"""Who caused a dialogue to fail; "task" if the task could not be written or solved."""


class Bullet(Frozen):
    """One statement of a rubric as classified by the judge (Stage 3, validation); only Critical ones block."""

    bullet: str
    rubric_class: RubricClass
    passed: bool


class Judgment(Frozen):
    """An LRM judge's judgment of one task. With several votes it is one of the majority's; `votes` lists all votes,
    `models` who gave each of them, if several models judge. `objection` is the first "invalid" vote where the majority
    says "valid"."""

    judgment: Literal["valid", "invalid"]
    reasoning: str
    bullets: tuple[Bullet, ...] = ()
    blame: Blame | None = None
    votes: tuple[Literal["valid", "invalid"], ...] = ()
    models: tuple[str, ...] | None = None
    objection: Judgment | None = None


class Verdict(Frozen):
    """Whether a dialogue is accepted: decided by `checks` in an executable environment, otherwise by the judge; with a
    gate (stages.validation.gate) by both.

    `reasons` name what failed, `blame` names who caused it.
    """

    accepted: bool
    reasons: tuple[str, ...] = ()
    blame: Blame | None = None
    checks: tuple[Check, ...] = ()
    judgments: tuple[Judgment, ...] = ()


class StateProof(Frozen):
    """How the environment's state changed: hashes (SHA-256) before and after the dialogue, and readable changes."""

    initial_hash: str
    final_hash: str
    diff: tuple[str, ...] = ()


class Dialogue(Frozen):
    """One line of dialogues.jsonl, finished or unfinished: every stage fills in what is missing."""

    dialogue_id: str
    pipeline: str
    domain: str
    tools: JsonTools
    messages: tuple[Message, ...] = Field(default=(), description="starts with the system message")
    tasks: JsonModels[Task] = ()
    task_starts: tuple[int, ...] = Field(
        default=(), description="index of each task's first message; later tasks have not been rolled out"
    )
    policy: JsonModel[Policy | None] = None
    late_tools: JsonObject = Field(
        default_factory=dict, description="tools offered only from a message on: name -> index of that user message"
    )
    user_tools: JsonTools = Field(default=(), description="tools that only the user has")
    user_actions: JsonModels[UserAction] = Field(default=(), description="what the user did with them, in order")
    given: int = Field(default=0, description="number of leading messages that were imported: not replayed, not judged")
    stop: str = Field(
        default="complete", description='"complete", "open" (within its last task), or who stopped the dialogue and why'
    )
    verdict: JsonModel[Verdict | None] = None
    state: JsonModel[StateProof | None] = None
    usage: JsonModel[Usage] = Usage(prompt_tokens=0, completion_tokens=0)
    provenance: Provenance = Provenance()

    @model_serializer(mode="wrap")
    def _with_every_key(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Also without None fields, all lines have all keys, and all answers `reasoning_content`: `datasets` takes the
        keys of the first messages for those of all, unless these differ among themselves."""
        line = {"policy": "null", "verdict": "null", "state": "null"} | serialize(self)
        for message in (message for message in line.get("messages", ()) if message["role"] == "assistant"):
            message.setdefault("reasoning_content", None)
        return {name: line[name] for name in type(self).model_fields if name in line}

    def check(self) -> None:
        """Raise ContractError if the transcript or the task index is invalid."""
        check_transcript(self.messages, self.tools, self.late_tools)
        check_user_actions(self.user_actions, self.user_tools, self.tools, self.messages)
        starts = list(self.task_starts)
        if len(starts) != len(self.tasks) or starts != sorted(set(starts)):
            raise ContractError(
                f"task_starts {starts} must rise and name one message for each of {len(self.tasks)} tasks", "task index"
            )

    def tools_at(self, position: int) -> tuple[ToolSpec, ...]:
        """The tools that are offered when message `position` is written."""
        return tuple(tool for tool in self.tools if self.late_tools.get(tool.name, 0) <= position)

    @property
    def turns(self) -> int:
        """Turns as in Appendix B: user messages, assistant messages and tool results, without the system message."""
        return sum(1 for message in self.messages if message.role != "system")

    @property
    def user_turns(self) -> int:
        return sum(1 for message in self.messages if isinstance(message, UserMessage))

    def steps(self) -> tuple[int, ...]:
        """Steps as in Appendix B: for each user message, the assistant's rounds of tool calls in response; 0 for a
        greeting, a "yes" or a goodbye, which request nothing."""
        counts: list[int] = []
        for message in self.messages:
            if isinstance(message, UserMessage):
                counts.append(0)
            elif isinstance(message, AssistantMessage) and message.tool_calls:
                counts[-1] += 1
        return tuple(counts)

    def span(self, number: int) -> range:
        """The indices of the messages of task `number`."""
        ends = [*self.task_starts[1:], len(self.messages)]
        return range(self.task_starts[number], ends[number])

    def part(self, number: int) -> tuple[Message, ...]:
        """The messages of task `number`."""
        span = self.span(number)
        return self.messages[span.start : span.stop]

    def actions(self, number: int) -> tuple[UserAction, ...]:
        """What the user did during task `number`."""
        span = self.span(number)
        return tuple(action for action in self.user_actions if action.message in span)

    def actions_before(self, position: int) -> tuple[UserAction, ...]:
        """What the user did before they wrote a message in front of message `position`."""
        return tuple(action for action in self.user_actions if action.message < position)

    def executed(self, number: int) -> Iterator[tuple[int, ToolCall, dict[str, Any], str]]:
        """The calls of task `number` that reached the environment: (index of the message, call, arguments, result).
        Those with unreadable arguments, or of tools that were not offered, were refused before."""
        start = self.task_starts[number]
        results = {m.tool_call_id: m.content for m in self.part(number) if isinstance(m, ToolMessage)}
        for position, message in enumerate(self.part(number), start):
            for call in message.tool_calls or () if isinstance(message, AssistantMessage) else ():
                if any(tool.name == call.name for tool in self.tools_at(position)):
                    with suppress(ContractError):
                        yield position, call, call.parsed(), results.get(call.id, "")


def calls(messages: Sequence[Message]) -> list[tuple[str, dict[str, Any], str]]:
    """Return every tool call in order as (name, arguments, result text). A call whose arguments are not a JSON object
    never reached a tool and is left out."""
    results = {m.tool_call_id: m.content for m in messages if isinstance(m, ToolMessage)}
    tool_calls = []
    for message in messages:
        for call in message.tool_calls or () if isinstance(message, AssistantMessage) else ():
            try:
                tool_calls.append((call.name, call.parsed(), results.get(call.id, "")))
            except ContractError:
                continue
    return tool_calls
