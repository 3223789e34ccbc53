"""What one dataset line holds: the dialogue, its tasks with their proofs, the verdict on it and where it came from.

Fields whose keys differ from line to line (tools, arguments, diffs, provenance) are JSON strings on disk, so that
`datasets.load_dataset("json")` reads any file of dialogues without merging schemas.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer

from core.messages import (
    AssistantMessage,
    ContractError,
    Frozen,
    Message,
    ToolMessage,
    ToolSpec,
    UserMessage,
    check_transcript,
)
from core.provenance import Provenance


def _parse(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _dump_models(value: tuple[Frozen, ...]) -> str:
    return json.dumps([item.model_dump(exclude_none=True) for item in value], ensure_ascii=False)


def _dump_roles(value: Mapping[str, Frozen]) -> str:
    return _dump({name: usage.model_dump() for name, usage in value.items()})


JsonObject = Annotated[dict[str, Any], BeforeValidator(_parse), PlainSerializer(_dump, return_type=str)]
JsonTools = Annotated[tuple[ToolSpec, ...], BeforeValidator(_parse), PlainSerializer(_dump_models, return_type=str)]

Difficulty = Literal["easy", "medium", "hard"]


class PlannedCall(Frozen):
    """One call of a task's solution. A string argument "${i.field}" stands for that field of the result of call i of the same
    task, "${i}" for the whole result where it is a single value. `subgoal` indexes Task.subgoals; `tell` names result fields
    whose values the user must be told."""

    tool: str
    arguments: JsonObject
    subgoal: int = 0
    tell: tuple[str, ...] = ()


_PLACEHOLDER = re.compile(r"^\$\{(\d+)(?:\.([^}]+))?\}$")


def resolve_arguments(arguments: dict[str, Any], results: Mapping[int, Any]) -> dict[str, Any]:
    """Fill the placeholders of a planned call from the results so far (plan index -> result value).

    A result that is a list counts as its only row. Raises LookupError where the call, its row or the field is missing, and
    where a list has several rows, since then the placeholder is ambiguous.
    """
    return {name: _resolve(value, results) for name, value in arguments.items()}


def placeholder(value: Any) -> tuple[int, str | None] | None:
    """(call, field) of a planned argument that stands for an earlier result, the field None where it stands for the whole; None
    for any other argument."""
    found = _PLACEHOLDER.match(value) if isinstance(value, str) else None
    return (int(found[1]), found[2]) if found else None


def _resolve(value: Any, results: Mapping[int, Any]) -> Any:
    found = placeholder(value)
    if not found:
        return value
    call, field = found
    result = results[call]
    if field is None:
        if isinstance(result, dict | list):
            raise LookupError(f"{value}: the result of call {call} is no single value; name one of its fields")
        return result
    if isinstance(result, list):
        if len(result) != 1:
            raise LookupError(f"{value} needs one row, call {call} returned {len(result)}")
        result = result[0]
    if not isinstance(result, dict) or field not in result:
        raise LookupError(f"{value}: the result of call {call} has no field {field!r}")
    return result[field]


class Rubric(Frozen):
    """What a judge holds the dialogue against (Stage 3, task generation)."""

    criteria: tuple[str, ...]
    tool_pattern: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()


class Task(Frozen):
    """A latent goal. `goal` is declarative and self-contained; `subgoals` are its parts in the order the user cares about.

    `plan` is the intended solution with placeholders. Where an executable environment proved the task, `gold_calls` are
    the plan's calls with real arguments, `told_values` what the user must learn, `mutates` whether they change state.
    """

    task_id: str
    goal: str
    subgoals: tuple[str, ...]
    difficulty: Difficulty
    rubric: Rubric
    plan: tuple[PlannedCall, ...] = ()
    gold_calls: tuple[PlannedCall, ...] = ()
    told_values: tuple[str, ...] = ()
    mutates: bool = False
    follows_from: str | None = Field(default=None, description="the task_id whose outcome this one extends, if any")


class Check(Frozen):
    """One decidable statement about a dialogue, and whether it held."""

    name: str
    passed: bool
    detail: str = ""


RubricClass = Literal["Critical", "Structural", "NonCritical", "InvalidRubric"]
Blame = Literal["user", "agent", "tool", "judge", "task"]
"""Who made a dialogue fail; "task" where the task itself could not be written or solved."""


class Bullet(Frozen):
    """One statement of a rubric as the judge classed it (Stage 3, validation). Only a Critical one blocks."""

    bullet: str
    rubric_class: RubricClass
    passed: bool


class Judgment(Frozen):
    """What an LRM judge said of one task. With several votes it is one of the majority's; `votes` holds all of them."""

    judgment: Literal["valid", "invalid"]
    reasoning: str
    bullets: tuple[Bullet, ...] = ()
    blame: Blame | None = None
    votes: tuple[Literal["valid", "invalid"], ...] = ()


class Verdict(Frozen):
    """`accepted` follows from the checks where the environment can execute, else from the judge. `reasons` name what failed,
    `blame` who."""

    accepted: bool
    reasons: tuple[str, ...] = ()
    blame: Blame | None = None
    checks: tuple[Check, ...] = ()
    judgments: tuple[Judgment, ...] = ()


class StateProof(Frozen):
    """How the environment's state moved: SHA-256 of the changes at the start and the end, and the changes in words."""

    initial_hash: str
    final_hash: str
    diff: tuple[str, ...] = ()


class RoleUsage(Frozen):
    """What one role cost; `cached_tokens` are those of the prompts that the server had in its prefix cache."""

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: RoleUsage) -> RoleUsage:
        return RoleUsage(**{name: getattr(self, name) + getattr(other, name) for name in type(self).model_fields})


JsonRoles = Annotated[dict[str, RoleUsage], BeforeValidator(_parse), PlainSerializer(_dump_roles, return_type=str)]


class Usage(Frozen):
    """Tokens and requests of all roles together, and `roles` of each. Times are not here: equal runs give equal bytes. `flaws`
    counts what was wrong with answers, as "role/kind" -> count; kinds are truncated, empty, malformed, repaired, unclosed,
    contradiction, and injected_<kind> (also of "environment") where faults were asked for."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    roles: JsonRoles = Field(default_factory=dict)
    flaws: JsonObject = Field(default_factory=dict)


class Dialogue(Frozen):
    """One line of dialogues.jsonl, finished or in the making: every stage fills in what is missing.

    `messages` begin with the system message; the first `given` of them came from elsewhere and are neither replayed nor
    judged. `task_starts[i]` is the index of the message with which task i began; tasks beyond it have not been played.
    `stop` is "complete", "open" (in the middle of its last task), or says who could not go on, and why.
    """

    dialogue_id: str
    pipeline: str
    domain: str
    tools: JsonTools
    messages: tuple[Message, ...] = ()
    tasks: tuple[Task, ...] = ()
    task_starts: tuple[int, ...] = ()
    given: int = 0
    stop: str = "complete"
    verdict: Verdict | None = None
    state: StateProof | None = None
    usage: Usage = Usage()
    provenance: Provenance = Provenance()

    def check(self) -> None:
        """Raise ContractError if the transcript or the task index is unlawful."""
        check_transcript(self.messages, self.tools)
        starts = list(self.task_starts)
        if len(starts) != len(self.tasks) or starts != sorted(set(starts)):
            raise ContractError(
                f"task_starts {starts} must rise and name one message for each of {len(self.tasks)} tasks", "task index"
            )

    @property
    def turns(self) -> int:
        """Appendix B: user utterances, assistant responses, tool invocations and outputs; the system message is none."""
        return sum(1 for message in self.messages if message.role != "system")

    @property
    def user_turns(self) -> int:
        return sum(1 for message in self.messages if isinstance(message, UserMessage))

    def steps(self) -> tuple[int, ...]:
        """Appendix B: for each user message, how many rounds of tool use the assistant took; 0 for a greeting, a "yes" or a
        goodbye, which is no request."""
        counts: list[int] = []
        for message in self.messages:
            if isinstance(message, UserMessage):
                counts.append(0)
            elif isinstance(message, AssistantMessage) and message.tool_calls:
                counts[-1] += 1
        return tuple(counts)

    def part(self, number: int) -> tuple[Message, ...]:
        """The messages of task `number`."""
        ends = [*self.task_starts[1:], len(self.messages)]
        return self.messages[self.task_starts[number] : ends[number]]


def calls(messages: Sequence[Message]) -> list[tuple[str, dict[str, Any], str]]:
    """Every tool call in order as (name, arguments, result text). One whose arguments are no JSON object never reached a tool
    and is left out."""
    results = {m.tool_call_id: m.content for m in messages if isinstance(m, ToolMessage)}
    found = []
    for message in messages:
        for call in message.tool_calls or () if isinstance(message, AssistantMessage) else ():
            try:
                found.append((call.name, call.parsed(), results.get(call.id, "")))
            except ContractError:
                continue
    return found
