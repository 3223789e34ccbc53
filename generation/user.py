"""The user simulator: a person with a latent goal who asks for one or two things at a time (Stage 3, user-oriented)."""

from __future__ import annotations

import json
from random import Random

from pydantic import Field

from core.dialogue import Task
from core.messages import AssistantMessage, Frozen, Message, SystemMessage, UserMessage
from core.settings import Settings
from generation.llm.base import LLM, Request, UnusableAnswerError, UserContext
from generation.llm.json_text import read_answer
from generation.prompts import render


class UserSettings(Settings):
    """Behavioural rules. `personas` are drawn per dialogue; the first word of each names the voice."""

    personas: tuple[str, ...] = Field(min_length=1)
    max_subtasks_per_turn: int = Field(ge=1)
    attempts: int = Field(ge=1, description="how often an unreadable answer is asked for again")


class UserTurn(Frozen):
    """One answer of the simulator."""

    user_message: str = Field(min_length=1)
    is_task_complete: bool


_ANSWER = UserTurn.model_json_schema()


class SimulatedUser:
    """One dialogue's user. Its own conversation is append-only: rules first, each goal where it begins, then the exchange."""

    def __init__(self, llm: LLM, settings: UserSettings, dialogue_id: str, rng: Random) -> None:
        self.llm = llm
        self.settings = settings
        self.dialogue_id = dialogue_id
        self.persona = rng.choice(settings.personas)
        rules = render("user", persona=self.persona, max_subtasks_per_turn=settings.max_subtasks_per_turn)
        self._history: list[Message] = [SystemMessage(content=rules)]
        self._heard = ""
        self._count = 0

    def begin(self, task: Task, task_start: int) -> None:
        """Give the user its next goal."""
        self._task, self._task_start = task, task_start
        self._first_task = len(self._history) == 1
        goal = render("user_goal", goal=task.goal, first_task=self._first_task)
        self._heard = f"{self._heard}\n\n{goal}".strip()

    def hear(self, message: AssistantMessage) -> None:
        """Take in the assistant's answer; tool calls and reasoning stay hidden from the user."""
        self._heard = f"The assistant says: {message.content}"

    async def speak(self, transcript: tuple[Message, ...]) -> UserTurn:
        """The next message. Raises UnusableAnswerError when no attempt is readable, LLMError when no one answers."""
        prompt = UserMessage(content=self._heard)
        context = UserContext(
            goal=self._task.goal,
            subgoals=self._task.subgoals,
            persona=self.persona,
            max_subtasks_per_turn=self.settings.max_subtasks_per_turn,
            transcript=transcript,
            task_start=self._task_start,
            first_task=self._first_task,
        )
        problem = ""
        for _ in range(self.settings.attempts):
            request = Request(
                role="user",
                messages=(*self._history, prompt),
                key=f"{self.dialogue_id}/user/{self._count}",
                affinity=self.dialogue_id,
                context=context,
                json_schema=_ANSWER,
            )
            self._count += 1
            completion = await self.llm.complete(request)
            try:
                turn = read_answer(completion.message.content, UserTurn)
            except ValueError as error:
                problem = str(error)
                continue
            self._history += [prompt, AssistantMessage(content=json.dumps(turn.model_dump(), ensure_ascii=False))]
            return turn
        raise UnusableAnswerError("user", f"no readable user message in {self.settings.attempts} attempts: {problem}")
