"""The user simulator: a person with a latent goal who follows rules of behaviour (Stage 3, user-oriented).

It hears what the assistant says to it and nothing else: no tool names, calls, results or reasoning. Where the paper has the user
review tool results, it reviews them as a person does, in the assistant's words.
"""

from __future__ import annotations

from random import Random
from typing import Annotated, Literal, get_args

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from core.dialogue import Dialogue, Task
from core.messages import AssistantMessage, Frozen, Message, SystemMessage, UserMessage
from core.settings import Settings
from generation.llm.base import Completion, Request
from generation.llm.contexts import UserContext, UserRules
from generation.llm.meter import Meter
from generation.llm.parsing.json_text import read_answer
from generation.prompts import render

Expertise = Literal["novice", "intermediate", "expert"]


class UserSettings(Settings):
    """Who the users are and how they behave. Each dialogue draws one of `personas`, whose first word names the voice, and an
    expertise by its weight. `attempts` is how often an unreadable answer is asked for again."""

    personas: tuple[str, ...] = Field(min_length=1)
    expertise: dict[Expertise, Annotated[float, Field(ge=0)]]
    rules: UserRules
    attempts: int = Field(ge=1)

    @model_validator(mode="after")
    def _somebody_can_be_drawn(self) -> UserSettings:
        if not sum(self.expertise.values()) > 0:
            raise ValueError(f"expertise needs a weight above 0 for one of {', '.join(get_args(Expertise))}")
        return self


class UserTurn(Frozen):
    """One answer of the simulator. Whatever else stands in it (reasoning, a mood) is left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    user_message: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    is_task_complete: bool


_ANSWER = UserTurn.model_json_schema()
_EXPERTISE = "; expertise: "


class SimulatedUser:
    """One dialogue's user. Its own conversation is append-only: rules first, each goal where it begins, then the exchange.

    It remembers what was said aloud. Closing words are not part of that as long as a further task may follow: the dialogue
    holds at most the last ones, so that `recall` can rebuild from it all that the user knows.
    """

    def __init__(self, meter: Meter, settings: UserSettings, dialogue_id: str, rng: Random) -> None:
        self.meter = meter
        self.settings = settings
        self.dialogue_id = dialogue_id
        expertise = rng.choices(list(settings.expertise), list(settings.expertise.values()))[0]
        self.persona = f"{rng.choice(settings.personas)}{_EXPERTISE}{expertise}"
        self._history: list[Message] = []
        self._earlier: tuple[Message, ...] = ()
        self._heard = self._goal = ""
        self._tasks = 0

    def begin(self, task: Task, task_start: int) -> None:
        """Give the user its next goal; `task_start` is the index of the message with which it will ask for it."""
        self._task, self._task_start, self._goal = task, task_start, task.goal
        self._first_task = not self._tasks and not self._earlier
        self._tasks += 1

    def hear(self, message: AssistantMessage) -> None:
        """Take in the assistant's answer."""
        self._heard = message.content

    def recall(self, dialogue: Dialogue) -> None:
        """Know what a dialogue's user knows after its messages, ready to speak or to hear, as if it had played them: goals where
        they began, what it heard and said. A conversation before the first task is one that it has had."""
        persona = dialogue.provenance.get("persona")
        if isinstance(persona, str) and persona.rpartition(_EXPERTISE)[2] in get_args(Expertise):
            self.persona = persona
        messages = list(dialogue.messages)
        if dialogue.task_starts and dialogue.stop == "complete" and isinstance(messages[-1], UserMessage):
            messages.pop()  # closing words: it goes on instead of leaving
        tasks = dict(zip(dialogue.task_starts, dialogue.tasks, strict=False))
        first = min(tasks, default=len(messages))
        self._history, self._heard, self._goal, self._tasks = [], "", "", 0
        self._earlier = tuple(message for message in messages[:first] if _is_spoken(message))
        for position, message in enumerate(messages[first:], first):
            if position in tasks:
                self.begin(tasks[position], position)
            if isinstance(message, UserMessage):
                self._remember(UserTurn(user_message=message.content, is_task_complete=False))
            elif isinstance(message, AssistantMessage) and _is_spoken(message):
                self.hear(message)
        if len(messages) in tasks:
            self.begin(tasks[len(messages)], len(messages))

    async def speak(self, transcript: tuple[Message, ...]) -> UserTurn:
        """The next message. Raises UnusableAnswerError when no attempt is readable, LLMError when no one answers."""
        rules = self._rules()
        name = f"{self.dialogue_id}/user/{self._tasks}/{len(self._history) // 2}"
        context = UserContext(
            goal=self._task.goal,
            subgoals=self._task.subgoals,
            persona=self.persona,
            rules=self.settings.rules,
            transcript=transcript,
            task_start=self._task_start,
            first_task=self._first_task,
        )

        def request(attempt: int, complaint: str) -> Request:
            return Request(
                role="user",
                messages=(rules, *self._history, self._news(complaint)),
                key=f"{name}/{attempt}",
                affinity=self.dialogue_id,
                context=context,
                json_schema=_ANSWER,
            )

        turn = await self.meter.request(request, _read, self.settings.attempts)
        if not turn.is_task_complete:
            self._remember(turn)
        return turn

    def _rules(self) -> SystemMessage:
        persona, _, expertise = self.persona.rpartition(_EXPERTISE)
        return SystemMessage(content=render("user", persona=persona, expertise=expertise, rules=self.settings.rules))

    def _news(self, complaint: str = "") -> UserMessage:
        """What has happened since it last spoke."""
        return UserMessage(
            content=render(
                "user_turn",
                earlier=self._earlier,
                heard=self._heard,
                goal=self._goal,
                first_task=self._first_task,
                complaint=complaint,
            )
        )

    def _remember(self, turn: UserTurn) -> None:
        self._history += [self._news(), AssistantMessage(content=turn.model_dump_json())]
        self._earlier, self._heard, self._goal = (), "", ""


async def _read(completion: Completion) -> UserTurn:
    return read_answer(completion.message.content, UserTurn)


def _is_spoken(message: Message) -> bool:
    """Whether it is one that user and assistant say to each other."""
    return isinstance(message, UserMessage) or (isinstance(message, AssistantMessage) and not message.tool_calls)
