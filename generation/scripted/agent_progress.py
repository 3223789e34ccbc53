"""What the stand-in's agent knows of its task: the user's wishes, its own calls, and their results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.dialogue import PlannedCall
from core.messages import Message
from core.placeholders import Placeholder, placeholder, resolve_arguments
from generation.llm.contexts import AgentContext
from generation.scripted.agent_hears import UserIntent
from generation.scripted.results import PastToolCall, dig, past_tool_calls
from generation.scripted.wishes import as_wanted


@dataclass(frozen=True)
class Attempt:
    """A past call: its tool, its plan index (None if it matches no planned call), its result, whether it failed, and
    the position of the result among the task's messages."""

    name: str
    index: int | None
    result: Any
    failed: bool
    position: int


class TaskProgress:
    """How far a task is: what the user wants by now, the calls made for it (`attempts`), and the `results` of those
    that the plan has, by plan index."""

    def __init__(self, context: AgentContext, messages: tuple[Message, ...]) -> None:
        self.context = context
        self.task = as_wanted(context.task, messages[context.task_start :])
        self.plan = self.task.expected_plan
        self.subgoals = self.task.subgoals
        self.messages = messages[context.task_start :]
        self.intent = UserIntent(self.subgoals, self.messages)
        self.results: dict[int, Any] = {}
        self.attempts: list[Attempt] = []
        for call in past_tool_calls(self.messages):
            attempt = Attempt(call.name, self._plan_index(call), call.result, call.status != "done", call.position)
            self.attempts.append(attempt)
            if attempt.index is not None and not attempt.failed:
                self.results[attempt.index] = attempt.result

    def _plan_index(self, call: PastToolCall) -> int | None:
        """The index of the first planned call without a result that this call matches."""
        for index, planned in enumerate(self.plan):
            if planned.tool == call.name and index not in self.results and self.arguments(planned) == call.arguments:
                return index if call.arguments is not None else None
        return None

    def arguments(self, planned: PlannedCall) -> dict[str, Any] | None:
        """The arguments with actual values, or None if an earlier result lacks one. Of several rows the first counts,
        and a field is searched for at any depth of the result."""
        try:
            return resolve_arguments(planned.arguments, self.results)
        except LookupError:
            arguments = {
                name: self._dug(source) if (source := placeholder(value)) else value
                for name, value in planned.arguments.items()
            }
            unresolved = any(arguments[n] is None and placeholder(v) for n, v in planned.arguments.items())
            return None if unresolved else arguments

    def _dug(self, source: Placeholder) -> Any:
        """A field found at any depth of a result; None for what had to be chosen or computed."""
        return None if source.function else dig(self.results.get(source.calls[0]), source.field or "")
