"""Stage 3, task generation: the LRM drafts tasks, the environment proves them by execution."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any

from core.dialogue import Task
from core.messages import UserMessage
from core.policy import Policy
from core.provenance import WriterRequest
from core.request_kinds import NOTHING_HAPPENS, RequestKind
from generation.database.schema import DatabaseSchema
from generation.database.views import related_rows
from generation.environments.base import Environment, PastCall
from generation.llm.base import Completion, RejectedAnswerError, Request, UnusableAnswerError
from generation.llm.contexts import TaskWriterContext
from generation.llm.meter import Meter
from generation.llm.parsing.json_text import read_answer
from generation.prompts import render
from generation.prompts.scene import Scene
from generation.seeds.base import Rows
from generation.specs.dealing import at_place
from generation.tasks.cards import Card
from generation.tasks.draft import DraftError, TaskDraft, answer_schema, check_draft
from generation.tasks.execution import Premises, ProofError
from generation.tasks.facts_learnt import known, usable, uses
from generation.tasks.guided import draw_guided
from generation.tasks.kinds import is_possible, refusing_rules
from generation.tasks.proof import prove
from generation.tasks.settings import TaskSettings

_TARGET_ATTEMPTS = 3
"""Attempts with target tools; what does not become a task with them becomes one without. Of these attempts, the last
may leave them out."""


@dataclass(frozen=True)
class Domain:
    """A dialogue's domain: its schema, if any, the rows from which limited views are drawn, goals that no task may have
    (those of the training data, for unseen tasks), its title and description for prompts, and its policy."""

    name: str
    schema: DatabaseSchema | None
    rows: Rows
    excluded_goals: frozenset[str] = frozenset()
    title: str = ""
    description: str = ""
    policy: Policy | None = None

    def premises(self, now: str, earlier: Sequence[PastCall] = ()) -> Premises:
        """What proofs of a dialogue's task take for granted; `earlier` are the dialogue's calls before the task."""
        return Premises(self.schema.flags if self.schema else frozenset(), self.policy, now, tuple(earlier))

    def scene(self, now: str) -> Scene:
        """What the prompts of a dialogue in this domain say of place and time."""
        return Scene(self.title or self.name.replace("_", " "), self.description, now)


class TaskWriter:
    """Requests the tasks of one dialogue and returns only proved ones. `refusals` counts refused drafts by kind,
    `requests` maps the id of each written task to what was requested. A proved task of another difficulty, or one that
    is not a follow-up though one was requested, is taken only if no attempt gives a better one.

    Task number i draws from its own Random, so that it does not depend on what happened before it. `cards` say what
    each task should be; tasks without a card draw their difficulty. `user` is who the tasks are for, "" for anyone.
    """

    def __init__(
        self,
        meter: Meter,
        domain: Domain,
        settings: TaskSettings,
        dialogue_id: str,
        seed: str,
        now: str,
        cards: Sequence[Card] = (),
        user: str = "",
    ) -> None:
        self.meter = meter
        self.domain = domain
        self.scene = domain.scene(now)
        self.settings = settings
        self.dialogue_id = dialogue_id
        self.seed = seed
        self.cards = cards
        self.user = user
        self.refusals: Counter[str] = Counter()
        self.requests: dict[str, WriterRequest] = {}

    async def write(
        self,
        environment: Environment,
        done: Sequence[Task] = (),
        facts: dict[str, Any] | None = None,
        earlier: Sequence[PastCall] = (),
    ) -> Task:
        """The next task, unsolved in `environment`'s present state. `done` are the tasks before it, `earlier` the calls
        before it, `facts` the values that the user learnt from the last one.

        A request of a special kind that no attempt could prove is followed by a plain one. Raises UnusableAnswerError
        with the reason of each failed attempt."""
        context = self._context(environment, done, facts)
        premises = self.domain.premises(self.scene.now, earlier)
        try:
            return await self._write(context, environment, premises)
        except UnusableAnswerError:
            if context.kind == "plain" or "plain" not in self.settings.kinds:
                raise
            self.refusals[f"no {context.kind} request"] += 1
            task = await self._write(replace(context, kind="plain", evidence_rows=0), environment, premises)
            asked = {"kind": context.kind, "evidence_rows": context.evidence_rows}
            self.requests[task.task_id] = self.requests[task.task_id].model_copy(update=asked)
            return task

    def _context(
        self, environment: Environment, done: Sequence[Task], facts: dict[str, Any] | None
    ) -> TaskWriterContext:
        rng = Random(f"{self.seed}/task/{len(done)}")
        levels = self.settings.difficulties
        card = self.cards[len(done)] if len(done) < len(self.cards) else None
        view = self._view(rng)
        follow_up = usable(facts or {}, environment.tools) and rng.random() < self.settings.follow_ups
        drawn = rng.choices(list(levels), list(levels.values()))[0]
        context = TaskWriterContext(
            scene=self.scene,
            style=self.settings.style,
            tools=environment.tools,
            schema=self.domain.schema,
            view=view,
            previous=tuple(done),
            facts=facts or {},
            want_follow_up=follow_up,
            difficulty=card.difficulty if card else drawn,
            policy=self.domain.policy,
            user=self.user,
        )
        weights = {
            kind: weight
            for kind, weight in self.settings.kinds.items()
            if is_possible(kind, environment.executable, self.domain.policy, is_first=not done)
        }
        kind: RequestKind = "plain"
        if any(weights.values()):
            kind = rng.choices(list(weights), list(weights.values()))[0]
            kind = at_place(weights, card.place) if card else kind
        rows = rng.choices(list(self.settings.evidence_rows), list(self.settings.evidence_rows.values()))[0]
        follow_up = context.want_follow_up and kind not in NOTHING_HAPPENS
        # A special request, and what a follow-up builds on, decide which tools they need.
        targets = card.targets if card and kind == "plain" and not follow_up else ()
        evidence_rows = rows if kind == "evidence" else 0
        return replace(context, kind=kind, want_follow_up=follow_up, evidence_rows=evidence_rows, targets=targets)

    async def _draw_guided(self, context: TaskWriterContext, environment: Environment, premises: Premises) -> Task:
        """A task that one of the policy's procedures solves: without a request, since the procedure is the plan."""
        assert context.policy is not None, "only a policy has procedures"
        number = len(context.previous)
        rng = Random(f"{self.seed}/guided/{number}")
        excluded = self.domain.excluded_goals | {task.goal for task in context.previous}
        task_id = f"{self.dialogue_id}/t{number}"
        try:
            task = await draw_guided(task_id, context.policy, self.domain.rows, environment, premises, rng, excluded)
        except ProofError as error:
            self.refusals["not proved"] += 1
            raise UnusableAnswerError("task_writer", str(error)) from None
        self.requests[task_id] = WriterRequest(difficulty=task.difficulty, follow_up=False, kind="guided")
        return task

    async def _write(self, context: TaskWriterContext, environment: Environment, premises: Premises) -> Task:
        if context.kind == "guided":
            return await self._draw_guided(context, environment, premises)
        task_id = f"{self.dialogue_id}/t{len(context.previous)}"
        rule_ids = refusing_rules(context.policy)
        schema = answer_schema(context.tools, context.kind, rule_ids)
        fields = list(schema["properties"])

        @cache
        def prompt(has_targets: bool) -> str:
            asked = context if has_targets else replace(context, targets=())
            return render("task_writer", **vars(asked), rule_ids=rule_ids, fields=fields)

        second_best: list[Task] = []

        def request(attempt: int) -> Request:
            asked = context if attempt < _TARGET_ATTEMPTS else replace(context, targets=())
            return Request(
                role="task_writer",
                messages=(UserMessage(content=prompt(bool(asked.targets))),),
                key=f"{task_id}/write/{context.kind}/{attempt}"
                if context.kind != "plain"
                else f"{task_id}/write/{attempt}",
                affinity=self.dialogue_id,
                context=asked,
                json_schema=schema,
            )

        async def read(completion: Completion) -> Task:
            try:
                draft = read_answer(completion.message.content, TaskDraft)
            except ValueError:
                self.refusals["unreadable"] += 1
                raise
            task = await self._prove(draft, environment, task_id, context, premises)
            try:
                self._check_request(task, context)
                self._check_targets(task, context, second_best)
            except RejectedAnswerError:
                second_best.append(task)
                raise
            return task

        try:
            task = await self.meter.request(request, read, self.settings.attempts)
        except UnusableAnswerError:
            if not second_best:
                raise
            task = second_best[-1]
        self.requests[task.task_id] = WriterRequest(
            difficulty=context.difficulty,
            follow_up=context.want_follow_up,
            kind=context.kind,
            evidence_rows=context.evidence_rows,
            targets=context.targets,
        )
        return task

    def _view(self, rng: Random) -> Rows:
        """A fresh sample of the data for each task, of rows that belong together: those with the same index or, in a
        database, those that foreign keys lead to."""
        size, tables = self.settings.rows_in_view, self.domain.rows
        if self.domain.schema:
            return related_rows(self.domain.schema, tables, size, rng)
        count = max(map(len, tables.values()), default=0)
        indexes = rng.sample(range(count), min(size, count))
        return {name: [rows[index] for index in indexes if index < len(rows)] for name, rows in tables.items()}

    async def _prove(
        self,
        draft: TaskDraft,
        environment: Environment,
        task_id: str,
        context: TaskWriterContext,
        premises: Premises,
    ) -> Task:
        """The draft as a proved task with its measured difficulty. Raises RejectedAnswerError."""
        follows_from = context.previous[-1].task_id if context.want_follow_up and uses(draft.plan, context) else None
        task = draft.task(task_id, context.difficulty, follows_from, context.kind, context.tools)
        try:
            if draft.goal in self.domain.excluded_goals:
                raise ProofError("this exact goal is in the training data")
            check_draft(task, environment.tools, known(context))
            return await prove(task, environment, premises)
        except DraftError:
            self.refusals["not grounded"] += 1
            raise
        except ProofError:
            self.refusals["not proved"] += 1
            raise

    def _check_request(self, task: Task, context: TaskWriterContext) -> None:
        """Raises RejectedAnswerError for a good task that is not what was requested."""
        if context.want_follow_up and not task.follows_from:
            self.refusals["no follow-up"] += 1
            raise RejectedAnswerError(
                "no argument of the plan is a value that the user has learnt; a follow-up uses at least one of "
                + json.dumps(context.facts, ensure_ascii=False)
            )
        if task.evidence.rows < context.evidence_rows:
            self.refusals["evidence"] += 1
            raise RejectedAnswerError(
                f"its decision compares {task.evidence.rows} rows; at least {context.evidence_rows} are wanted"
            )
        if context.kind == "plain" and task.difficulty != context.difficulty:
            self.refusals["difficulty"] += 1
            raise RejectedAnswerError(f"this task is {task.difficulty}; a {context.difficulty} one is wanted")

    def _check_targets(self, task: Task, context: TaskWriterContext, second_best: Sequence[Task]) -> None:
        """Raises RejectedAnswerError for a good task with none of the target tools, as long as it is one of the
        first."""
        if not context.targets or any(call.tool in context.targets for call in task.plan):
            return
        self.refusals["target tools"] += 1
        if len(second_best) < _TARGET_ATTEMPTS - 1:
            raise RejectedAnswerError(
                f"the plan uses none of the tools wanted this time: {', '.join(context.targets)}; write a task that "
                "needs one of them"
            )
