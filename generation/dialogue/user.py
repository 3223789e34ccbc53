"""The user simulator: a persona with a latent goal and rules of behaviour (Stage 3, user-oriented).

It sees the assistant's answers and nothing else: no tool names, calls, results or reasoning. Where the paper's user
reviews tool results, this one reviews them as a person would, in the assistant's words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import ConfigDict, Field, StringConstraints, ValidationInfo, field_validator

from core.dialogue import Dialogue, Task
from core.dual_control import UserAction
from core.json_fields import JsonObject
from core.messages import AssistantMessage, Frozen, Message, SystemMessage, ToolSpec, UserMessage
from core.typography import folded_words
from generation.dialogue.personas import User
from generation.dialogue.user_checks import assistant_phrase, recites, repeated_by
from generation.llm.base import Completion, RejectedAnswerError, Request, UnusableAnswerError
from generation.llm.contexts import Achieved, UserContext
from generation.llm.meter import Meter
from generation.llm.parsing.json_text import read_answer
from generation.prompts import render
from generation.prompts.scene import Scene
from generation.specs.structured import object_schema

MOST_ACTIONS = 8
"""Actions before one message; then the user must speak."""


class OwnCall(Frozen):
    """A use of one of the user's own tools."""

    tool: str
    arguments: JsonObject


class UserTurn(Frozen):
    """One answer of the simulator: a message, or the use of a tool before it. Further fields of the answer (reasoning,
    a mood) are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    use_tool: OwnCall | None = None
    user_message: Annotated[str, StringConstraints(strip_whitespace=True)] = Field(default="", validate_default=True)
    is_task_complete: bool

    @field_validator("user_message")
    @classmethod
    def _says_or_does_something(cls, text: str, info: ValidationInfo) -> str:
        if not text and info.data.get("use_tool") is None:
            raise ValueError("it is empty")
        return text


def turn_schema(nothing_done: bool, tools: Sequence[ToolSpec] = ()) -> dict[str, Any]:
    """The JSON Schema of an answer. In the first turn of a task, and before the assistant has heard what the user did,
    nothing can be complete."""
    complete: dict[str, Any] = {"type": "boolean"}
    fields: dict[str, Any] = {
        "user_message": {"type": "string"},
        "is_task_complete": complete | {"enum": [False]} if nothing_done else complete,
    }
    if tools:
        uses = [object_schema({"tool": {"enum": [tool.name]}, "arguments": tool.parameters}) for tool in tools]
        fields["use_tool"] = {"anyOf": [{"type": "null"}, *uses]}
    return object_schema(fields)


class SimulatedUser:
    """The user of one dialogue. Its conversation with its model is append-only: first the rules, then each goal at its
    start and the messages about it.

    It remembers what was said aloud. A closing message is not part of that as long as a further task may follow: the
    dialogue contains at most the last one, so that `recall` can rebuild from the dialogue everything that the user
    knows.
    """

    def __init__(
        self,
        meter: Meter,
        user: User,
        attempts: int,
        scene: Scene,
        dialogue_id: str,
        tools: Sequence[ToolSpec] = (),
    ) -> None:
        """`tools` are the user's own."""
        self.meter = meter
        self.user = user
        self.attempts = attempts
        self.scene = scene
        self.dialogue_id = dialogue_id
        self.tools = tuple(tools)
        self._history: list[Message] = []
        self._earlier: tuple[Message, ...] = ()
        self._heard = self._goal = self._answered = ""
        self._seen: tuple[str, str] | None = None
        self._said: list[tuple[str, str]] = []
        self._tasks = 0

    def start_task(self, task: Task, task_start: int) -> None:
        """Give the user its next goal; `task_start` is the index of the message in which it will request it."""
        self._task, self._task_start, self._goal = task, task_start, task.goal
        self._first_task = not self._tasks and not self._earlier
        self._said = []
        self._tasks += 1

    def hear(self, message: AssistantMessage) -> None:
        """Store the assistant's answer for the user's next prompt."""
        self._heard = self._answered = message.content

    def observe(self, turn: UserTurn, result: str) -> None:
        """Store what a tool of the user returned for the user's next prompt."""
        assert turn.use_tool is not None, "a turn that only says something has no result"
        self._history += [self._news(), AssistantMessage(content=turn.model_dump_json(exclude_none=True))]
        self._earlier, self._heard, self._goal = (), "", ""
        self._seen = (turn.use_tool.tool, result)

    def recall(self, dialogue: Dialogue) -> None:
        """Rebuild the user's knowledge from a dialogue, as if this user had taken part in it: each goal at its start,
        and what it heard and said. Messages before the first task count as an earlier conversation of the user."""
        messages = list(dialogue.messages)
        if dialogue.task_starts and dialogue.stop == "complete" and isinstance(messages[-1], UserMessage):
            messages.pop()  # the closing message: the user continues instead of leaving
        tasks = dict(zip(dialogue.task_starts, dialogue.tasks, strict=False))
        first = min(tasks, default=len(messages))
        self._history, self._heard, self._goal, self._tasks = [], "", "", 0
        self._answered, self._seen = "", None
        self._earlier = tuple(message for message in messages[:first] if _is_spoken(message))
        for position, message in enumerate(messages[first:], first):
            if position in tasks:
                self.start_task(tasks[position], position)
            for action in (action for action in dialogue.user_actions if action.message == position):
                use = OwnCall(tool=action.tool, arguments=action.arguments)
                self.observe(UserTurn(is_task_complete=False, use_tool=use), action.result)
            if isinstance(message, UserMessage):
                self._remember(UserTurn(user_message=message.content, is_task_complete=False))
            elif isinstance(message, AssistantMessage) and _is_spoken(message):
                self.hear(message)
        if len(messages) in tasks:
            self.start_task(tasks[len(messages)], len(messages))

    async def speak(
        self,
        transcript: tuple[Message, ...],
        achieved: tuple[Achieved, ...] | None = None,
        actions: tuple[UserAction, ...] = (),
    ) -> UserTurn:
        """The next message, or the use of one of the user's tools; `actions` are those since the assistant's latest
        message, at most MOST_ACTIONS. For `achieved` see UserContext.

        A turn is refused if it declares the task complete before anything was asked for, says what only an assistant
        says, or repeats an earlier one (see user_checks). Raises UnusableAnswerError if no attempt is usable, and
        LLMError if no model responds.
        """
        rules, tools = self._rules(), self.tools if len(actions) < MOST_ACTIONS else ()
        name = f"{self.dialogue_id}/user/{self._tasks}/{len(self._history) // 2}"
        context = UserContext(
            task=self._task,
            persona=self.user.persona,
            rules=self.user.rules,
            transcript=transcript,
            task_start=self._task_start,
            first_task=self._first_task,
            achieved=achieved,
            tools=tools,
            actions=actions,
        )

        def request(attempt: int) -> Request:
            return Request(
                role="user",
                messages=(rules, *self._history, self._news()),
                key=f"{name}/{attempt}",
                affinity=self.dialogue_id,
                context=context,
                json_schema=turn_schema(not self._said or bool(actions), tools),
            )

        refusals: list[_Objection] = []

        async def read(completion: Completion) -> UserTurn:
            turn = read_answer(completion.message.content, UserTurn)
            complaints = (refusal.complaint.replace(self._task.goal, "…") for refusal in refusals)
            if turn.use_tool:
                _check_use(turn.use_tool, tools)
                return turn
            if actions and turn.is_task_complete:
                raise RejectedAnswerError("you have done something; tell the assistant what it showed before you end")
            if objection := self._objection(turn, "\n".join((rules.content, self._frame(), *complaints))):
                refusals.append(objection)
                raise RejectedAnswerError(objection.complaint)
            return turn

        try:
            turn = await self.meter.request(request, read, self.attempts)
        except UnusableAnswerError:
            if refusals:
                raise UnusableAnswerError(refusals[-1].role, refusals[-1].reason) from None
            raise
        if not turn.is_task_complete and not turn.use_tool:
            self._remember(turn)
        return turn

    def _objection(self, turn: UserTurn, instructions: str) -> _Objection | None:
        """Why the user must not say this, if so."""
        if turn.is_task_complete and not self._said:
            return _Objection(
                "user",
                "declared the task complete before asking for anything",
                "you have not asked for anything yet, so is_task_complete must be false",
            )
        if phrase := assistant_phrase(turn.user_message, self._answered):
            return _Objection(
                "user",
                "plays the assistant",
                f'"{phrase}" is what the assistant says. You are the {self._side}, and this is your goal: {self._task.goal} '
                "Ask the assistant for what it has not done yet",
            )
        if recites(turn.user_message, instructions):
            return _Objection(
                "user",
                "recites its instructions",
                "that is a sentence of your instructions; say what you want from the assistant, in the words of such a person",
            )
        role = None if turn.is_task_complete else repeated_by(turn.user_message, self._answered, self._said)
        if role:
            return _Objection(
                role,
                "repeats itself",
                "you have said this already; answer what the assistant said last, or ask for what you still need, in "
                "other words",
            )
        return None

    def _rules(self) -> SystemMessage:
        return SystemMessage(
            content=render("user", scene=self.scene, user=self.user, rules=self.user.rules, tools=self.tools)
        )

    @property
    def _side(self) -> str:
        return "member of staff" if self.user.is_staff else "customer"

    def _news(self) -> UserMessage:
        """The prompt with everything that has happened since its last message."""
        return UserMessage(content=self._turn(self._earlier, self._heard, self._goal, self._task))

    def _frame(self) -> str:
        """What a prompt says about a goal and the conversation, without the goal and the conversation."""
        unnamed = {"withheld": ("…",) if self._task.withheld else (), "first_wish": "…"}
        return self._turn((), "", "…", self._task.model_copy(update=unnamed))

    def _turn(self, earlier: tuple[Message, ...], heard: str, goal: str, task: Task) -> str:
        return render(
            "user_turn",
            earlier=earlier,
            heard=heard,
            seen=self._seen,
            goal=goal,
            task=task,
            first_task=self._first_task,
        )

    def _remember(self, turn: UserTurn) -> None:
        self._said.append((folded_words(self._answered), folded_words(turn.user_message)))
        self._history += [self._news(), AssistantMessage(content=turn.model_dump_json(exclude_none=True))]
        self._earlier, self._heard, self._goal = (), "", ""
        self._answered, self._seen = "", None


class _Objection(NamedTuple):
    """Why a turn is refused: who stops the dialogue and with which reason if nothing better comes, and the complaint to
    the model."""

    role: Literal["user", "agent"]
    reason: str
    complaint: str


def _check_use(use: OwnCall, tools: Sequence[ToolSpec]) -> None:
    """Raises RejectedAnswerError unless `use` is a fitting call of one of the tools."""
    tool = next((tool for tool in tools if tool.name == use.tool), None)
    if tool is None:
        names = ", ".join(tool.name for tool in tools)
        raise RejectedAnswerError(f"you cannot use {use.tool!r} now" + (f"; you have {names}" if names else ""))
    if problem := tool.argument_error(use.arguments):
        raise RejectedAnswerError(f"the arguments of {use.tool} do not fit: {problem}")


def _is_spoken(message: Message) -> bool:
    """Whether user and assistant exchange this message, rather than the agent and its tools."""
    return isinstance(message, UserMessage) or (isinstance(message, AssistantMessage) and not message.tool_calls)
