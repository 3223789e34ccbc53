"""One dialogue from its first task to its end: user, agent and tools in turn, several tasks in one thread (Stage 3)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random
from typing import Any

from pydantic import Field

from core.dialogue import Difficulty, Task, Usage
from core.messages import AssistantMessage, ContractError, Message, ToolMessage, UserMessage
from core.settings import Settings
from generation.agent import Agent, agent_system_message
from generation.databases import DatabaseSchema
from generation.environments.base import Environment, World
from generation.llm.base import LLM, Completion, Request, UnusableAnswerError
from generation.tasks import TaskWriter
from generation.user import SimulatedUser, UserSettings

Rows = dict[str, list[dict[str, Any]]]


class RolloutSettings(Settings):
    """`tasks` maps the number of tasks in a dialogue to its weight; `follow_ups` is the share of further tasks that extend an
    earlier outcome; `user_simulator` False hands each task to the agent whole (the task-oriented baseline)."""

    user_simulator: bool
    style: str = Field(pattern="^(question|descriptive)$")
    tasks: dict[int, float] = Field(min_length=1)
    difficulties: dict[Difficulty, float] = Field(min_length=1)
    follow_ups: float = Field(ge=0, le=1)
    task_attempts: int = Field(ge=1)
    rows_in_view: int = Field(ge=1, description="rows of each table that a task writer is shown")
    max_user_turns: int = Field(ge=1, description="user messages per task")
    max_steps: int = Field(ge=1, description="rounds of tool use per user message")


@dataclass(frozen=True)
class Cast:
    """Which model plays which role."""

    task_writer: LLM
    user: LLM
    agent: LLM
    tool_simulator: LLM
    judge: LLM

    @classmethod
    def of(cls, llm: LLM) -> Cast:
        """One model in every role."""
        return cls(llm, llm, llm, llm, llm)


@dataclass
class Meter:
    """Passes requests on and adds up what they cost."""

    llm: LLM
    usage: Usage = field(default_factory=Usage)

    @property
    def name(self) -> str:
        return self.llm.name

    async def complete(self, request: Request) -> Completion:
        completion = await self.llm.complete(request)
        self.usage = Usage(
            requests=self.usage.requests + 1,
            prompt_tokens=self.usage.prompt_tokens + completion.prompt_tokens,
            completion_tokens=self.usage.completion_tokens + completion.completion_tokens,
        )
        return completion

    async def close(self) -> None:
        """The metered model belongs to the run, not to the dialogue."""


@dataclass(frozen=True)
class Domain:
    """What a dialogue is about: its schema, if any, the rows from which limited views are drawn, and goals not to pose
    (those of the training data, where unseen tasks are wanted)."""

    name: str
    schema: DatabaseSchema | None
    rows: Rows
    seen: frozenset[str] = frozenset()


@dataclass
class Trajectory:
    """What happened, before anybody judged it. `starts[i]` and `snapshots[i]` are the message index and the state at which
    task i began, `hashes[i]` the state hash at its end; `stop` is "complete" or says who could not go on, and why."""

    messages: list[Message]
    tasks: list[Task] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    snapshots: list[bytes] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    tasks_requested: int = 0
    stop: str = "complete"

    def add(self, message: Message) -> None:
        self.messages.append(message)


class StoppedError(Exception):
    """The dialogue cannot go on; the message is its stop reason."""


class Rollout:
    """Plays one dialogue. Everything random derives from `rng`, which belongs to this dialogue alone."""

    def __init__(
        self,
        dialogue_id: str,
        domain: Domain,
        world: World,
        cast: Cast,
        settings: RolloutSettings,
        user: UserSettings,
        rng: Random,
    ) -> None:
        self.dialogue_id = dialogue_id
        self.domain = domain
        self.settings = settings
        self.rng = rng
        self.environment: Environment = world.open()
        self.writer = TaskWriter(
            cast.task_writer, domain.name, domain.schema, settings.style, settings.task_attempts, domain.seen
        )
        self.user = SimulatedUser(cast.user, user, dialogue_id, rng)
        self.agent = Agent(cast.agent, world.tools, dialogue_id)
        self.trajectory = Trajectory([agent_system_message(domain.name)])

    async def play(self) -> Trajectory:
        """The whole dialogue; never raises for what a model answered. Raises LLMError where a model cannot be reached."""
        trajectory = self.trajectory
        counts = self.settings.tasks
        trajectory.tasks_requested = self.rng.choices(list(counts), list(counts.values()))[0]
        closing = ""
        try:
            for _ in range(trajectory.tasks_requested):
                closing = await self._one_task()
        except StoppedError as stopped:
            trajectory.stop = str(stopped)
        except UnusableAnswerError as unusable:
            # A further task that cannot be written ends the dialogue early; what was done before it stands.
            if unusable.role != "task_writer" or not trajectory.tasks:
                trajectory.stop = str(unusable)
        finally:
            self.environment.close()
        if closing and trajectory.stop == "complete":
            trajectory.add(UserMessage(content=closing))
        return trajectory

    async def _one_task(self) -> str:
        """Write the next task and play it to its end; returns the user's closing words."""
        trajectory = self.trajectory
        task = await self._next_task()
        start = len(trajectory.messages)
        trajectory.tasks.append(task)
        trajectory.starts.append(start)
        trajectory.snapshots.append(self.environment.snapshot())
        closing = await (self._converse(task, start) if self.settings.user_simulator else self._hand_over(task, start))
        trajectory.hashes.append(self.environment.state_hash())
        return closing

    async def _next_task(self) -> Task:
        done = tuple(self.trajectory.tasks)
        difficulties = self.settings.difficulties
        return await self.writer.write(
            self.environment,
            self._view(),
            self.rng.choices(list(difficulties), list(difficulties.values()))[0],
            self.dialogue_id,
            previous=done,
            facts=self._facts() if done else {},
            want_follow_up=bool(done) and self.rng.random() < self.settings.follow_ups,
        )

    def _view(self) -> Rows:
        """A fresh limited look at the data for each task."""
        wanted = self.settings.rows_in_view
        return {table: self.rng.sample(rows, min(wanted, len(rows))) for table, rows in self.domain.rows.items()}

    def _facts(self) -> dict[str, Any]:
        """Told fields of single-row results of the last task, as the tools really returned them."""
        task, start = self.trajectory.tasks[-1], self.trajectory.starts[-1]
        told = {call.tool: call.tell for call in task.plan if call.tell}
        names: dict[str, str] = {}
        facts: dict[str, Any] = {}
        for message in self.trajectory.messages[start:]:
            if isinstance(message, AssistantMessage):
                names |= {call.id: call.name for call in message.tool_calls or ()}
            elif isinstance(message, ToolMessage) and names[message.tool_call_id] in told:
                value = _json_or_none(message.content)
                row = value[0] if isinstance(value, list) and len(value) == 1 else value
                if isinstance(row, dict):
                    facts |= {name: row[name] for name in told[names[message.tool_call_id]] if name in row}
        return facts

    async def _hand_over(self, task: Task, start: int) -> str:
        self.trajectory.add(UserMessage(content=task.goal))
        await self._assist(task, start)
        return ""

    async def _converse(self, task: Task, start: int) -> str:
        self.user.begin(task, start)
        for asked in range(self.settings.max_user_turns + 1):
            turn = await self.user.speak(tuple(self.trajectory.messages))
            if turn.is_task_complete:
                if not asked:
                    raise StoppedError("user: declared the task complete before asking for anything")
                return turn.user_message
            if asked < self.settings.max_user_turns:
                self.trajectory.add(UserMessage(content=turn.user_message))
                self.user.hear(await self._assist(task, start))
        raise StoppedError(f"user: not done after {self.settings.max_user_turns} messages")

    async def _assist(self, task: Task, start: int) -> AssistantMessage:
        """Let the agent use tools until it answers in words."""
        for step in range(self.settings.max_steps + 1):
            message = await self.agent.respond(tuple(self.trajectory.messages), task, start)
            if message.tool_calls and step == self.settings.max_steps:
                break
            self.trajectory.add(message)
            if not message.tool_calls:
                return message
            for call in message.tool_calls:
                try:
                    content = (await self.environment.call(call.name, call.parsed())).content
                except ContractError as error:
                    content = json.dumps({"error": str(error)}, ensure_ascii=False)
                self.trajectory.add(ToolMessage(tool_call_id=call.id, content=content))
        raise StoppedError(f"agent: no answer after {self.settings.max_steps} rounds of tool use")


def _json_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None
