"""The rollout of one dialogue: user, agent and tools take turns, through several tasks in one thread (Stage 3)."""

from __future__ import annotations

import json
from collections import Counter

from core.dialogue import Dialogue, StateProof, Task, calls
from core.messages import AssistantMessage, ContractError, Message, ToolCall, ToolMessage, ToolSpec, UserMessage
from core.provenance import Provenance
from generation.dialogue.achieved import Achievements
from generation.dialogue.agent import Agent, agent_system_message
from generation.dialogue.own_tools import act_and_speak, past_calls
from generation.dialogue.setup import RolloutContext
from generation.dialogue.user import SimulatedUser
from generation.environments.base import Environment
from generation.llm.base import UnusableAnswerError
from generation.llm.contexts import Achieved
from generation.tasks.execution import ProofError
from generation.tasks.facts_learnt import learnt_values
from generation.tasks.proof import prove_imported
from generation.utterances.answers import declines


class StoppedError(Exception):
    """The dialogue cannot continue; the message is its stop reason."""


class InterruptedDialogueError(Exception):
    """An error interrupted a dialogue; carries the dialogue so far, and the error as `cause`."""

    def __init__(self, dialogue: Dialogue, cause: Exception) -> None:
        super().__init__(str(cause))
        self.dialogue = dialogue
        self.cause = cause


class Rollout:
    """Rolls out one dialogue from its start state: from nothing, from given tasks, or from existing messages."""

    def __init__(self, dialogue: Dialogue, context: RolloutContext) -> None:
        self.draft = dialogue
        self.context = context
        self.messages: list[Message] = list(dialogue.messages) or self._system_messages()
        self.tasks = list(dialogue.tasks)
        self.user_actions = list(dialogue.user_actions)
        self.task_starts = list(dialogue.task_starts)
        self.late_tools: dict[str, int] = dict(dialogue.late_tools)
        self._hidden = {name for task in self.tasks for name in task.late_tools} - self.late_tools.keys()
        # A dialogue in the middle of a task only finishes that task; any other gets the drawn number of further tasks.
        further = 0 if dialogue.stop == "open" else context.settings.tasks.draw(context.seed)
        self.requested = max(len(self.task_starts) + further, len(self.tasks))
        self.environment: Environment = context.domain_environment.open()
        self.writer = context.writer(dialogue)
        user = context.user(dialogue.provenance)
        self.user = SimulatedUser(
            context.models.user,
            user,
            context.settings.user.attempts,
            context.scene,
            dialogue.dialogue_id,
            dialogue.user_tools,
        )
        self.settings = context.settings.rollout
        self._achievements: Achievements | None = None
        self.agent = Agent(
            context.models.agent,
            dialogue.dialogue_id,
            self.settings.agent_attempts,
            require_valid_calls=self.settings.invalid_calls == "retry",
        )

    def _system_messages(self) -> list[Message]:
        """The start of a new dialogue: its system message, or nothing."""
        context = self.context
        message = agent_system_message(
            context.scene, context.scenario.style, self.draft.policy, context.settings.user.multilingual
        )
        return [message] if message else []

    async def run(self) -> Dialogue:
        """The finished dialogue. Never raises for a model's answers; raises LLMError if a model cannot be reached."""
        try:
            stop = await self._run()
            return self.so_far(stop, self._proof() if self.context.executable else None)
        finally:
            self.environment.close()

    def so_far(self, stop: str = "open", state: StateProof | None = None) -> Dialogue:
        """The dialogue with the messages and tasks so far, and the tools offered by now."""
        started = len(self.task_starts)
        refused = Counter(self.draft.provenance.refused_drafts) + self.writer.refusals
        provenance = self.draft.provenance | Provenance(
            tasks_requested=self.requested,
            persona=self.user.user.persona,
            user_rules=self.user.user.rule_set,
            language=self.user.user.language if self.context.settings.user.multilingual else None,
            now=self.context.now,
            system_prompt=self.draft.provenance.system_prompt if self.draft.messages else self.context.scenario.style,
            writer_requests=self.draft.provenance.writer_requests | self.writer.requests,
            refused_drafts=dict(sorted(refused.items())),
        )
        return self.draft.model_copy(
            update={
                "tools": self._offered(),
                "late_tools": self.late_tools,
                "messages": tuple(self.messages),
                "user_actions": tuple(self.user_actions),
                "tasks": tuple(self.tasks[:started]),
                "task_starts": tuple(self.task_starts),
                "stop": stop,
                "state": state,
                "provenance": provenance,
            }
        )

    def _offered(self) -> tuple[ToolSpec, ...]:
        """The tools offered now."""
        return tuple(tool for tool in self.draft.tools if tool.name not in self._hidden)

    async def _run(self) -> str:
        """Roll out to the end; return the stop reason."""
        self._initial_hash = self.environment.state_hash()
        try:
            await self._retrace()
            if self.draft.messages:
                self.user.recall(self.draft)
            closing = await self._take_turns(self.tasks[len(self.task_starts) - 1]) if self.draft.stop == "open" else ""
            while len(self.task_starts) < self.requested:
                task = await self._next_task()
                if task is None:
                    break
                closing = await self._start_task(task)
        except (StoppedError, UnusableAnswerError) as stopped:
            return str(stopped)
        if closing:
            self.messages.append(UserMessage(content=closing))
        return "complete"

    async def _retrace(self) -> None:
        """Repeat the given calls, those of an open task after noting the state at its start."""
        # Imported messages never touched a real environment, but a simulated one must not contradict them.
        first = self.draft.given if self.context.executable else 0
        is_open = self.draft.stop == "open"
        start = max(first, self.task_starts[-1]) if is_open else len(self.messages)
        holds = await self.environment.retrace(past_calls(self.draft, first, start))
        if is_open:
            self._watch(self.tasks[len(self.task_starts) - 1])
        if not holds or not await self.environment.retrace(past_calls(self.draft, start, len(self.messages))):
            raise StoppedError("replay: the given calls do not return here what they returned there")

    def _watch(self, task: Task) -> None:
        """If the user checks the state, compare it from now on with the states that the task's gold calls lead to."""
        checks = self.settings.user_checks_state and self.context.executable and task.is_proved
        snapshot = self.environment.snapshot() if checks else b""
        self._achievements = Achievements(task, self.context.domain_environment, snapshot) if checks else None

    async def _achieved(self, start: int) -> tuple[Achieved, ...] | None:
        if self._achievements is None:
            return None
        answers = [message.content for message in self.messages[start:] if _is_answer(message)]
        return await self._achievements.of(self.environment.state_hash(), answers)

    def _proof(self) -> StateProof:
        environment = self.environment
        return StateProof(
            initial_hash=self._initial_hash, final_hash=environment.state_hash(), diff=environment.state_diff()
        )

    async def _next_task(self) -> Task | None:
        """A given task, proved in the present state, or a new one. None if a further task fails: the dialogue then ends
        early and keeps the tasks before it."""
        number = len(self.task_starts)
        is_first_here = number == len(self.draft.task_starts) and self.draft.stop != "open"
        try:
            if number < len(self.tasks):
                if not self._is_proved(self.tasks[number]):
                    premises = self.context.domain.premises(self.context.now, calls(self.messages))
                    self.tasks[number] = await prove_imported(self.tasks[number], self.environment, premises)
            else:
                facts = learnt_values(self.tasks[-1], self.messages[self.task_starts[-1] :]) if number else None
                earlier = calls(self.messages)
                self.tasks.append(await self.writer.write(self.environment, self.tasks, facts, earlier))
                self._hidden |= set(self.tasks[number].late_tools)
        except ProofError as error:
            if is_first_here:
                raise StoppedError(f"task_writer: the given task does not hold: {error}") from None
            self.writer.refusals["given task not proved"] += 1
            return None
        except UnusableAnswerError as error:
            if error.role != "task_writer" or is_first_here:
                raise
            return None
        return self.tasks[number]

    def _is_proved(self, task: Task) -> bool:
        """Whether an earlier stage of this run proved this very task, and the state is still the initial one."""
        return self.context.proved.get(task.task_id) == task and self.environment.state_hash() == self._initial_hash

    async def _start_task(self, task: Task) -> str:
        """Play a task from its start; return the user's closing message."""
        if self.messages and isinstance(self.messages[-1], UserMessage):
            self.messages.pop()  # the closing message of the dialogue so far: the user continues instead
        self.task_starts.append(len(self.messages))
        self._watch(task)
        if self.settings.user_simulator:
            self.user.start_task(task, self.task_starts[-1])
        else:
            self.messages.append(UserMessage(content=task.goal))
        return await self._take_turns(task)

    async def _take_turns(self, task: Task) -> str:
        """Let user and agent take turns until the task is complete; return the user's closing message."""
        start, limit = self.task_starts[-1], self.settings.max_user_turns
        while True:
            if len(self.messages) > start and not _is_answer(self.messages[-1]):
                answer = await self._let_agent_answer(task, start)
                if self.settings.user_simulator:
                    self.user.hear(answer)
            elif not self.settings.user_simulator:
                return ""
            else:
                user_turns = sum(isinstance(message, UserMessage) for message in self.messages[start:])
                achieved = await self._achieved(start)
                turn, actions = await act_and_speak(self.user, self.environment, self.messages, achieved)
                if turn.is_task_complete:
                    return turn.user_message
                if user_turns >= limit:  # more than `limit` in a start state that was rolled out with a higher one
                    raise StoppedError(f"user: not done after {limit} messages")
                self._offer_late_tools(task)
                self.user_actions += actions
                self.messages.append(UserMessage(content=turn.user_message))

    def _offer_late_tools(self, task: Task) -> None:
        """Offer hidden tools from the user's next message on: those of the task once the assistant has said that it
        lacks them, those of earlier tasks at once. What a task of kind no_tool lacks stays hidden as long as it
        lasts."""
        latest = self.messages[-1] if self.messages else None
        said_no = isinstance(latest, AssistantMessage) and declines(latest.content)
        kept = set(task.late_tools) if task.kind == "no_tool" or not said_no else set()
        offered = sorted(self._hidden - kept)
        self.late_tools |= dict.fromkeys(offered, len(self.messages))
        self._hidden -= set(offered)

    async def _let_agent_answer(self, task: Task, start: int) -> AssistantMessage:
        """Let the agent use tools until it answers with text."""
        limit = self.settings.max_steps
        for _ in range(limit + 1 - self._rounds()):
            message = await self.agent.respond(tuple(self.messages), self._offered(), task, start, self.draft.policy)
            if message.tool_calls and self._rounds() == limit:
                break
            self.messages.append(message)
            if not message.tool_calls:
                return message
            for call in message.tool_calls:
                self.messages.append(ToolMessage(tool_call_id=call.id, content=await self._execute(call)))
        raise StoppedError(f"agent: no answer after {limit} rounds of tool use")

    async def _execute(self, call: ToolCall) -> str:
        """The result of a call, as the tool message carries it."""
        try:
            arguments = call.parsed()
        except ContractError as error:
            return json.dumps({"error": str(error)}, ensure_ascii=False)
        users = {tool.name for tool in self.draft.user_tools}
        if call.name in self._hidden | users:  # the environment has all tools
            offered = ", ".join(sorted(tool.name for tool in self._offered()))
            return json.dumps({"error": f"there is no tool {call.name!r}; there are: {offered}"}, ensure_ascii=False)
        return (await self.environment.call(call.name, arguments, tuple(self.messages))).content

    def _rounds(self) -> int:
        """Rounds of tool use since the last user message."""
        rounds = 0
        for message in reversed(self.messages):
            if isinstance(message, UserMessage):
                break
            rounds += isinstance(message, AssistantMessage)
        return rounds


def _is_answer(message: Message) -> bool:
    return isinstance(message, AssistantMessage) and not message.tool_calls
