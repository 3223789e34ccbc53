"""One dialogue from its first task to its end: user, agent and tools in turn, several tasks in one thread (Stage 3)."""

from __future__ import annotations

import json
from collections import Counter
from random import Random

from core.dialogue import Dialogue, StateProof, Task, calls
from core.messages import AssistantMessage, ContractError, Message, ToolCall, ToolMessage, UserMessage
from core.provenance import Provenance
from generation.dialogue.agent import Agent, agent_system_message
from generation.dialogue.setup import RolloutContext
from generation.dialogue.user import SimulatedUser
from generation.environments.base import Environment
from generation.llm.base import UnusableAnswerError
from generation.tasks.proof import ProofError
from generation.tasks.writer import learnt, prove_given


class StoppedError(Exception):
    """The dialogue cannot go on; the message is its stop reason."""


class InterruptedDialogueError(Exception):
    """A dialogue could not be finished; carries it as far as it got, and the `cause`."""

    def __init__(self, dialogue: Dialogue, cause: Exception) -> None:
        super().__init__(str(cause))
        self.dialogue = dialogue
        self.cause = cause


class Rollout:
    """Plays one dialogue on from where it stands: from nothing, from given tasks, from messages that are there already."""

    def __init__(self, dialogue: Dialogue, context: RolloutContext) -> None:
        self.draft = dialogue
        self.context = context
        self.messages: list[Message] = list(dialogue.messages) or [agent_system_message(context.domain.name)]
        self.tasks = list(dialogue.tasks)
        self.starts = list(dialogue.task_starts)
        rng = Random(f"{context.seed}/rollout")
        # A dialogue in the middle of a task only finishes it; a finished one gets that many further tasks.
        further = 0 if dialogue.stop == "open" else context.settings.tasks.draw(context.seed)
        self.requested = max(len(self.starts) + further, len(self.tasks))
        self.environment: Environment = context.domain_environment.open()
        self.writer = context.writer(dialogue.dialogue_id)
        self.user = SimulatedUser(context.models.user, context.settings.user, dialogue.dialogue_id, rng)
        settings = context.settings.rollout
        self.agent = Agent(
            context.models.agent,
            dialogue.tools,
            dialogue.dialogue_id,
            settings.agent_attempts,
            lawful=settings.invalid_calls == "retry",
        )

    async def play(self) -> Dialogue:
        """The whole dialogue; never raises for what a model answered. Raises LLMError where a model cannot be reached."""
        try:
            stop = await self._play()
            return self.so_far(stop, self._proof() if self.context.executable else None)
        finally:
            self.environment.close()

    def so_far(self, stop: str = "open", state: StateProof | None = None) -> Dialogue:
        """The dialogue with the messages played until now."""
        started = len(self.starts)
        refused = Counter(self.draft.provenance.refused_drafts) + self.writer.refusals
        provenance = self.draft.provenance | Provenance(
            tasks_requested=self.requested,
            persona=self.user.persona,
            writer_requests=self.draft.provenance.writer_requests | self.writer.requests,
            refused_drafts=dict(sorted(refused.items())),
        )
        return self.draft.model_copy(
            update={
                "messages": tuple(self.messages),
                "tasks": tuple(self.tasks[:started]),
                "task_starts": tuple(self.starts),
                "stop": stop,
                "state": state,
                "provenance": provenance,
            }
        )

    async def _play(self) -> str:
        """Play to the end; the stop reason."""
        self._initial_hash = self.environment.state_hash()
        try:
            # What was given from elsewhere never happened in a real world; a simulated one must not contradict it.
            happened = self.messages[self.draft.given if self.context.executable else 0 :]
            if not await self.environment.retrace(calls(happened)):
                raise StoppedError("replay: the given calls do not return here what they returned there")
            if self.draft.messages:
                self.user.recall(self.draft)
            closing = await self._act(self.tasks[len(self.starts) - 1]) if self.draft.stop == "open" else ""
            while len(self.starts) < self.requested:
                task = await self._next_task()
                if task is None:
                    break
                closing = await self._begin(task)
        except (StoppedError, UnusableAnswerError) as stopped:
            return str(stopped)
        if closing:
            self.messages.append(UserMessage(content=closing))
        return "complete"

    def _proof(self) -> StateProof:
        environment = self.environment
        return StateProof(
            initial_hash=self._initial_hash, final_hash=environment.state_hash(), diff=environment.state_diff()
        )

    async def _next_task(self) -> Task | None:
        """A given task, proved in the present state, or a new one. A further task that cannot be had ends the dialogue early
        (None): what was done here before it stands."""
        number = len(self.starts)
        nothing_played = number == len(self.draft.task_starts) and self.draft.stop != "open"
        try:
            if number < len(self.tasks):
                if not self._is_proved(self.tasks[number]):
                    self.tasks[number] = await prove_given(self.tasks[number], self.environment)
            else:
                facts = learnt(self.tasks[-1], self.messages[self.starts[-1] :]) if self.starts else None
                self.tasks.append(await self.writer.write(self.environment, self.tasks, facts))
        except ProofError as error:
            if nothing_played:
                raise StoppedError(f"task_writer: the given task does not hold: {error}") from None
            self.writer.refusals["given task not proved"] += 1
            return None
        except UnusableAnswerError as error:
            if error.role != "task_writer" or nothing_played:
                raise
            return None
        return self.tasks[number]

    def _is_proved(self, task: Task) -> bool:
        """Whether a stage of this run has proved this very task in the environment's present state, which is its initial one."""
        return self.context.proved.get(task.task_id) == task and self.environment.state_hash() == self._initial_hash

    async def _begin(self, task: Task) -> str:
        """Play a task from its start; returns the user's closing words."""
        if isinstance(self.messages[-1], UserMessage):
            self.messages.pop()  # the closing words of a dialogue that is extended: the user goes on instead
        self.starts.append(len(self.messages))
        if self.context.settings.rollout.user_simulator:
            self.user.begin(task, self.starts[-1])
        else:
            self.messages.append(UserMessage(content=task.goal))
        return await self._act(task)

    async def _act(self, task: Task) -> str:
        """Play a begun task to its end: whoever's turn it is acts."""
        start, limit = self.starts[-1], self.context.settings.rollout.max_user_turns
        while True:
            if len(self.messages) > start and not _is_answer(self.messages[-1]):
                answer = await self._assist(task, start)
                if self.context.settings.rollout.user_simulator:
                    self.user.hear(answer)
            elif not self.context.settings.rollout.user_simulator:
                return ""
            else:
                asked = sum(isinstance(message, UserMessage) for message in self.messages[start:])
                turn = await self.user.speak(tuple(self.messages))
                if turn.is_task_complete and asked:
                    return turn.user_message
                if turn.is_task_complete:
                    raise StoppedError("user: declared the task complete before asking for anything")
                if asked >= limit:  # a dialogue that goes on may have been played with a higher one
                    raise StoppedError(f"user: not done after {limit} messages")
                self.messages.append(UserMessage(content=turn.user_message))

    async def _assist(self, task: Task, start: int) -> AssistantMessage:
        """Let the agent use tools until it answers in words."""
        limit = self.context.settings.rollout.max_steps
        for _ in range(limit + 1 - self._rounds()):
            message = await self.agent.respond(tuple(self.messages), task, start)
            if message.tool_calls and self._rounds() == limit:
                break
            self.messages.append(message)
            if not message.tool_calls:
                return message
            for call in message.tool_calls:
                self.messages.append(ToolMessage(tool_call_id=call.id, content=await self._run(call)))
        raise StoppedError(f"agent: no answer after {limit} rounds of tool use")

    async def _run(self, call: ToolCall) -> str:
        """What a call gives, as the tool message carries it."""
        try:
            arguments = call.parsed()
        except ContractError as error:
            return json.dumps({"error": str(error)}, ensure_ascii=False)
        return (await self.environment.call(call.name, arguments, tuple(self.messages))).content

    def _rounds(self) -> int:
        """Rounds of tool use since the user last spoke."""
        rounds = 0
        for message in reversed(self.messages):
            if isinstance(message, UserMessage):
                break
            rounds += isinstance(message, AssistantMessage)
        return rounds


def _is_answer(message: Message) -> bool:
    return isinstance(message, AssistantMessage) and not message.tool_calls
