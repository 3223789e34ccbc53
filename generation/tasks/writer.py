"""Stage 3, task generation: drafts from the LRM become tasks once the environment has proved them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from core.dialogue import Difficulty, PlannedCall, Rubric, Task
from core.messages import AssistantMessage, Frozen, Message, ToolMessage, UserMessage
from core.settings import Settings
from generation.database.schema import DatabaseSchema
from generation.environments.base import Environment
from generation.llm.base import Completion, RejectedAnswerError, Request
from generation.llm.contexts import TaskWriterContext
from generation.llm.meter import Meter
from generation.llm.parsing.json_text import read_answer
from generation.prompts import render
from generation.seeds.base import Rows
from generation.specs.json_values import json_or_text
from generation.specs.naming import changes
from generation.tasks.difficulty import difficulty, effort
from generation.tasks.proof import ProofError, check_trace, execute


class TaskSettings(Settings):
    """How many tasks a dialogue gets, and of what kind.

    `count` maps a number of tasks (1…20) to its weight; `follow_ups` is the share of further tasks that extend an earlier
    outcome instead of standing for themselves; `rows_in_view` is how many rows of each table a writer is shown.
    """

    style: Literal["question", "descriptive"]
    count: dict[Annotated[int, Field(ge=1, le=20)], float] = Field(min_length=1)
    difficulties: dict[Difficulty, float] = Field(min_length=1)
    follow_ups: float = Field(ge=0, le=1)
    attempts: int = Field(ge=1)
    rows_in_view: int = Field(ge=1)

    @field_validator("count", "difficulties")
    @classmethod
    def _something_can_be_drawn(cls, weights: dict[Any, float]) -> dict[Any, float]:
        if min(weights.values()) < 0 or not 0 < sum(weights.values()) < math.inf:
            raise ValueError(f"weights of 0 or more, at least one of them above 0, are expected; {weights} was given")
        return weights

    def draw(self, seed: str) -> int:
        """The number of tasks for the dialogue with this seed."""
        return Random(f"{seed}/tasks").choices(list(self.count), list(self.count.values()))[0]


@dataclass(frozen=True)
class Domain:
    """What a dialogue is about: its schema, if any, the rows from which limited views are drawn, and goals not to pose
    (those of the training data, where unseen tasks are wanted)."""

    name: str
    schema: DatabaseSchema | None
    rows: Rows
    seen: frozenset[str] = frozenset()


class TaskDraft(Frozen):
    """What the task writer answers with."""

    goal: str = Field(min_length=1)
    subgoals: tuple[str, ...] = Field(min_length=1)
    difficulty: Difficulty
    plan: tuple[PlannedCall, ...] = Field(min_length=1)
    criteria: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()


_ANSWER = TaskDraft.model_json_schema()


class TaskWriter:
    """Asks for the tasks of one dialogue and keeps only those that hold. `refusals` counts the kinds of the others,
    `asked` says by task id what was wanted of those that were written.

    Task number i draws from its own Random, so that it does not depend on how the dialogue came to it.
    """

    def __init__(self, meter: Meter, domain: Domain, settings: TaskSettings, dialogue_id: str, seed: str) -> None:
        self.meter = meter
        self.domain = domain
        self.settings = settings
        self.dialogue_id = dialogue_id
        self.seed = seed
        self.refusals: Counter[str] = Counter()
        self.asked: dict[str, dict[str, Any]] = {}

    async def write(
        self, environment: Environment, done: Sequence[Task] = (), facts: dict[str, Any] | None = None
    ) -> Task:
        """The next task, unsolved in `environment`'s present state. `done` are the tasks before it, `facts` what the user has
        learnt from the last one. Raises UnusableAnswerError after the allowed attempts, with the reason of each."""
        rng = Random(f"{self.seed}/task/{len(done)}")
        levels = self.settings.difficulties
        context = TaskWriterContext(
            domain=self.domain.name,
            style=self.settings.style,
            tools=environment.tools,
            schema=self.domain.schema,
            view=self._view(rng),
            previous=tuple(done),
            facts=facts or {},
            want_follow_up=bool(facts) and rng.random() < self.settings.follow_ups,
            difficulty=rng.choices(list(levels), list(levels.values()))[0],
        )
        task_id = f"{self.dialogue_id}/t{len(done)}"
        asked = 0

        def request(attempt: int, complaint: str) -> Request:
            nonlocal asked
            asked = attempt + 1
            return Request(
                role="task_writer",
                messages=(UserMessage(content=render("task_writer", **vars(context), complaint=complaint)),),
                key=f"{task_id}/write/{attempt}",
                affinity=self.dialogue_id,
                context=context,
                json_schema=_ANSWER,
            )

        async def read(completion: Completion) -> Task:
            try:
                draft = read_answer(completion.message.content, TaskDraft)
            except ValueError:
                self.refusals["unreadable"] += 1
                raise
            last = asked == self.settings.attempts
            return await self._admit(draft, environment, task_id, context, last)

        task = await self.meter.request(request, read, self.settings.attempts)
        self.asked[task.task_id] = {"difficulty": context.difficulty, "follow_up": context.want_follow_up}
        return task

    def _view(self, rng: Random) -> Rows:
        """A fresh limited look at the data for each task. Without a database rows at the same place belong together."""
        wanted, rows = self.settings.rows_in_view, self.domain.rows
        if self.domain.schema:
            return {kind: rng.sample(some, min(wanted, len(some))) for kind, some in rows.items()}
        count = max(map(len, rows.values()), default=0)
        places = rng.sample(range(count), min(wanted, count))
        return {kind: [some[place] for place in places if place < len(some)] for kind, some in rows.items()}

    async def _admit(
        self, draft: TaskDraft, environment: Environment, task_id: str, context: TaskWriterContext, last: bool
    ) -> Task:
        """The task, if it holds. Its difficulty is what it measures; another one than was asked for is only taken at the last
        attempt."""
        pattern = tuple(
            f"{call.tool}({', '.join(f'{name}={value}' for name, value in call.arguments.items())})"
            for call in draft.plan
        )
        task = Task(
            task_id=task_id,
            goal=draft.goal,
            subgoals=draft.subgoals,
            difficulty=draft.difficulty,
            rubric=Rubric(criteria=draft.criteria, tool_pattern=pattern, checkpoints=draft.checkpoints),
            plan=draft.plan,
            follows_from=context.previous[-1].task_id if _uses(draft.plan, context) else None,
        )
        try:
            if draft.goal in self.domain.seen:
                raise ProofError("this very goal is in the training data")
            task = await prove(task, environment)
        except ProofError:
            self.refusals["not proved"] += 1
            raise
        if task.difficulty != context.difficulty and not last:
            self.refusals["difficulty"] += 1
            raise RejectedAnswerError(f"this task is {task.difficulty}; a {context.difficulty} one is wanted")
        return task


def _uses(plan: Sequence[PlannedCall], context: TaskWriterContext) -> bool:
    """Whether a follow-up was wanted and is one: a call takes a value that the user has learnt."""
    learnt_values = [value for value in context.facts.values() if not isinstance(value, bool)]
    given = [value for call in plan for value in call.arguments.values() if not isinstance(value, bool)]
    return context.want_follow_up and any(value in learnt_values for value in given)


async def prove(task: Task, environment: Environment) -> Task:
    """The task with what executing its plan shows: gold calls, values to tell, whether it changes anything, its measured
    difficulty. Where nothing is executed the plan's form is all that is checked. Raises ProofError."""
    declared = {tool.name for tool in environment.tools}
    if unknown := sorted({call.tool for call in task.plan} - declared):
        raise ProofError(f"the plan calls undeclared tools {unknown}; declared: {sorted(declared)}")
    if any(not 0 <= call.subgoal < len(task.subgoals) for call in task.plan):
        raise ProofError(f"the plan serves a subgoal that is not among the {len(task.subgoals)} given")
    if not environment.executable:
        measured = difficulty(effort(task.plan, [changes(call.tool) for call in task.plan]))
        return task.model_copy(update={"difficulty": measured})
    trace = await execute(task.plan, environment)
    check_trace(trace, task.goal)
    return task.model_copy(
        update={
            "gold_calls": trace.calls,
            "told_values": trace.told,
            "mutates": trace.mutates,
            "difficulty": difficulty(effort(task.plan, trace.writes)),
        }
    )


async def prove_given(task: Task, environment: Environment) -> Task:
    """A task that was given, proved as far as it says how it is solved. Raises ProofError."""
    if task.plan:
        return await prove(task, environment)
    if environment.executable:
        await execute(task.gold_calls, environment)
    return task


def learnt(task: Task, messages: Sequence[Message]) -> dict[str, Any]:
    """What a task's messages taught the user: told fields of single-row results, as the tools really returned them."""
    told = {call.tool: call.tell for call in task.plan if call.tell}
    names: dict[str, str] = {}
    facts: dict[str, Any] = {}
    for message in messages:
        if isinstance(message, AssistantMessage):
            names |= {call.id: call.name for call in message.tool_calls or ()}
        elif isinstance(message, ToolMessage) and names.get(message.tool_call_id) in told:
            value = json_or_text(message.content)
            row = value[0] if isinstance(value, list) and len(value) == 1 else value
            if isinstance(row, dict):
                facts |= {name: row[name] for name in told[names[message.tool_call_id]] if name in row}
    return facts
