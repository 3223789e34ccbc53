"""Stage 3, task generation: drafts from the LRM become tasks once the environment has proved them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from core.dialogue import Difficulty, PlannedCall, Rubric, Task
from core.messages import Frozen, UserMessage
from generation.databases import DatabaseSchema
from generation.environments.base import Environment
from generation.llm.base import LLM, Request, TaskWriterContext, UnusableAnswerError
from generation.llm.json_text import read_answer
from generation.prompts import render
from generation.proof import ProofError, check_trace, execute


class TaskDraft(Frozen):
    """What the task writer answers with."""

    goal: str = Field(min_length=1)
    subgoals: tuple[str, ...] = Field(min_length=1)
    difficulty: Difficulty
    plan: tuple[PlannedCall, ...] = Field(min_length=1)
    criteria: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()


_ANSWER = TaskDraft.model_json_schema()


@dataclass
class TaskWriter:
    """Asks for tasks of one domain and keeps only those that hold. `seen` are goals not to pose; `refusals` counts the reasons
    of the others."""

    llm: LLM
    domain: str
    schema: DatabaseSchema | None
    style: str
    attempts: int
    seen: frozenset[str] = frozenset()
    refusals: Counter[str] = field(default_factory=Counter)

    async def write(
        self,
        environment: Environment,
        view: dict[str, list[dict[str, Any]]],
        difficulty: Difficulty,
        dialogue_id: str,
        previous: tuple[Task, ...] = (),
        facts: dict[str, Any] | None = None,
        want_follow_up: bool = False,
    ) -> Task:
        """One task that is unsolved in `environment`'s present state. Raises UnusableAnswerError after `attempts` refused
        drafts, with the reason of each."""
        context = TaskWriterContext(
            domain=self.domain,
            style=self.style,
            tools=environment.tools,
            schema=self.schema,
            view=view,
            previous=previous,
            facts=facts or {},
            want_follow_up=want_follow_up and bool(facts),
            difficulty=difficulty,
        )
        task_id = f"{dialogue_id}/t{len(previous)}"
        complaints: list[str] = []
        for attempt in range(self.attempts):
            prompt = render("task_writer", **vars(context), complaint=complaints[-1] if complaints else "")
            request = Request(
                role="task_writer",
                messages=(UserMessage(content=prompt),),
                key=f"{task_id}/write/{attempt}",
                affinity=dialogue_id,
                context=context,
                json_schema=_ANSWER,
            )
            completion = await self.llm.complete(request)
            try:
                draft = read_answer(completion.message.content, TaskDraft)
                return await self._prove(draft, environment, task_id, previous if context.want_follow_up else ())
            except (ValueError, ProofError) as error:
                complaints.append(str(error))
                self.refusals[type(error).__name__] += 1
        raise UnusableAnswerError("task_writer", "; ".join(complaints))

    async def _prove(self, draft: TaskDraft, environment: Environment, task_id: str, extends: tuple[Task, ...]) -> Task:
        declared = {tool.name for tool in environment.tools}
        if draft.goal in self.seen:
            raise ProofError("this very goal is in the training data")
        if unknown := sorted({call.tool for call in draft.plan} - declared):
            raise ProofError(f"the plan calls undeclared tools {unknown}; declared: {sorted(declared)}")
        if any(not 0 <= call.subgoal < len(draft.subgoals) for call in draft.plan):
            raise ProofError(f"the plan serves a subgoal that is not among the {len(draft.subgoals)} given")
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
            follows_from=extends[-1].task_id if extends else None,
        )
        if not environment.executable:
            return task
        trace = await execute(draft.plan, environment)
        check_trace(trace, draft.goal)
        return task.model_copy(update={"gold_calls": trace.calls, "told_values": trace.told, "mutates": trace.mutates})
