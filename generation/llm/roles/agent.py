"""The stand-in's agent: does what the user has asked for so far, call by call, with visible reasoning.

It follows the task's plan only as far as the user's words cover it, fills placeholders from what the tools really returned,
asks where a value is missing or a deletion needs a yes, sometimes starts with a wrong argument and recovers, and sometimes
fails the user, as models do: those dialogues are there to be caught by the checks.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from random import Random
from typing import Any

from core.dialogue import PlannedCall, resolve_arguments
from core.messages import AssistantMessage, ContractError, Message, ToolCall, ToolMessage, UserMessage
from generation.llm.base import AgentContext

_THINK = [
    "The user wants to {what}. {tool} fits: I have {given}.",
    "To {what} I should call {tool} with {given}.",
    "Next comes {tool}, since the user asked to {what}. Arguments: {given}.",
    "I need {tool} for this ({what}); the arguments are {given}.",
]
_REPORT = [
    "The tools have answered. I tell the user what they returned.",
    "Everything that was asked for is done; now the answer, with the values as returned.",
    "I have all results. Let me sum them up for the user.",
]


_CONFIRM, _CLARIFY = "Do you confirm?", "What should the new value be?"


@dataclass(frozen=True)
class Done:
    """A call that was made: its plan index (None if it matches no planned call), result value and whether it failed."""

    index: int | None
    value: Any
    failed: bool


class Agent:
    def __init__(self, context: AgentContext, messages: tuple[Message, ...], rng: Random, error_rate: float) -> None:
        self.plan = context.task.plan
        self.subgoals = context.task.subgoals
        self.messages = messages[context.task_start :]
        self.rng = rng
        self.error_rate = error_rate
        said = " ".join(m.content for m in self.messages if isinstance(m, UserMessage)).casefold()
        self.trusted = "no need to ask" in said
        self.asked = {i for i, goal in enumerate(self.subgoals) if goal.casefold() in said}
        self.vague = {
            i
            for i, goal in enumerate(self.subgoals)
            if i not in self.asked and _vague(goal) and _vague(goal).casefold() in said
        }
        self.results: dict[int, Any] = {}
        self.attempts: list[Done] = []
        self._look_back()

    def _look_back(self) -> None:
        calls: dict[str, ToolCall] = {}
        for message in self.messages:
            if isinstance(message, AssistantMessage):
                calls |= {call.id: call for call in message.tool_calls or ()}
            elif isinstance(message, ToolMessage) and message.tool_call_id in calls:
                done = self._match(calls[message.tool_call_id], message.content)
                self.attempts.append(done)
                if done.index is not None and not done.failed:
                    self.results[done.index] = done.value

    def _match(self, call: ToolCall, content: str) -> Done:
        try:
            value, arguments = json.loads(content), call.parsed()
        except (json.JSONDecodeError, ContractError):
            return Done(None, content, True)
        failed = value == [] or (isinstance(value, dict) and ("error" in value or value.get("rows_affected") == 0))
        for index, planned in enumerate(self.plan):
            if planned.tool == call.name and index not in self.results and self._arguments(planned) == arguments:
                return Done(index, value, failed)
        return Done(None, value, True)

    def _arguments(self, planned: PlannedCall) -> dict[str, Any] | None:
        try:
            return resolve_arguments(planned.arguments, self.results)
        except LookupError:
            return None

    def speak(self) -> AssistantMessage:
        waiting = [i for i, call in enumerate(self.plan) if call.subgoal in self.asked and i not in self.results]
        stuck = [done for done in self.attempts if done.failed and done.index is not None]
        if stuck:
            return self._say(
                "A planned call failed; the honest thing is to say so.",
                "I am sorry, I could not find or change that record.",
            )
        if not waiting:
            return self._answer()
        planned = self.plan[waiting[0]]
        what = self.subgoals[planned.subgoal]
        if planned.tool.startswith("delete_") and not self.trusted and not self._confirmed(what):
            return self._say("Deleting cannot be undone, so I ask first.", f"This will {what}. {_CONFIRM}")
        if not self.results and planned.tool.startswith(("update_", "create_")) and self._slips(0.3):
            return self._say("This looks done.", f"Done: I have taken care of your wish to {what}.")
        return self._call(waiting)

    def _call(self, waiting: list[int]) -> AssistantMessage:
        batch = [waiting[0]]
        if len(waiting) > 1 and self._reads(waiting[0]) and self._reads(waiting[1]) and self.rng.random() < 0.4:
            batch = waiting[:2]
        calls: list[ToolCall] = []
        thoughts: list[str] = []
        for index in batch:
            planned = self.plan[index]
            arguments = self._arguments(planned)
            if arguments is None:
                return self._say("The earlier result lacks what I need.", "I am sorry, I could not find that record.")
            if not self.attempts and planned.tool.startswith(("search_", "get_", "list_")) and self._slips(1.0):
                arguments = _wrong(arguments)
            given = ", ".join(f"{key} = {value}" for key, value in arguments.items()) or "no arguments"
            what = self.subgoals[planned.subgoal]
            thoughts.append(self.rng.choice(_THINK).format(what=what, tool=planned.tool, given=given))
            calls.append(ToolCall.make(f"call_{len(calls)}", planned.tool, arguments))
        if self.attempts and self.attempts[-1].index is None:
            thoughts.insert(0, "The last call gave nothing: I had mistyped an argument. Again with the right one.")
        return AssistantMessage(reasoning_content=" ".join(thoughts), tool_calls=tuple(calls))

    def _answer(self) -> AssistantMessage:
        if self.vague:
            goal = _vague(self.subgoals[min(self.vague)])
            return self._say(f"The user wants to {goal}, but not to what.", f"Happy to {goal}. {_CLARIFY}")
        fresh = self._since_last_answer()
        parts = [self._report(index) for index in sorted(self.results) if index in fresh]
        if not parts:
            return self._say("Nothing is left to do right now.", "Is there anything else that I can do for you?")
        if self._slips(0.15):
            return self._say("Short answer.", "It is all done. Anything else?")
        return self._say(self.rng.choice(_REPORT), " ".join(part for part in parts if part) or "That is done.")

    def _report(self, index: int) -> str:
        planned, value = self.plan[index], self.results[index]
        what = self.subgoals[planned.subgoal]
        if isinstance(value, dict):
            told = [f"{key.replace('_', ' ')} {value[key]}" for key in planned.tell if key in value]
            return f"Done: {what}" + (f" ({', '.join(told)})." if told else ".")
        if not planned.tell or not isinstance(value, list):
            return ""
        rows = [
            ", ".join(f"{key.replace('_', ' ')} {row.get(key)}" for key in planned.tell)
            for row in value
            if isinstance(row, dict)
        ]
        return "Here is what I found: " + "; ".join(rows) + "."

    def _since_last_answer(self) -> set[int]:
        """Plan indices whose results came after the assistant last reported to the user; a question reports nothing."""
        fresh: set[int] = set()
        position = 0
        for message in self.messages:
            if isinstance(message, AssistantMessage):
                if not message.tool_calls and not message.content.endswith((_CONFIRM, _CLARIFY)):
                    fresh.clear()
            elif isinstance(message, ToolMessage):
                index = self.attempts[position].index
                position += 1
                if index is not None:
                    fresh.add(index)
        return fresh

    def _confirmed(self, what: str) -> bool:
        """Whether the question for confirmation of `what` was answered with yes."""
        asked = False
        for message in self.messages:
            if isinstance(message, AssistantMessage) and message.content == f"This will {what}. {_CONFIRM}":
                asked = True
            elif asked and isinstance(message, UserMessage):
                return message.content.lower().startswith("yes")
        return False

    def _reads(self, index: int) -> bool:
        planned = self.plan[index]
        dynamic = any(isinstance(v, str) and re.fullmatch(r"\$\{\d+\..*\}", v) for v in planned.arguments.values())
        return not dynamic and not planned.tool.startswith(("update_", "create_", "delete_"))

    def _slips(self, share: float) -> bool:
        return self.rng.random() < self.error_rate * share

    def _say(self, thought: str, content: str) -> AssistantMessage:
        return AssistantMessage(reasoning_content=thought, content=content)


def _vague(goal: str) -> str:
    return goal.rsplit(" to ", 1)[0] if goal.startswith("change ") and " to " in goal else ""


def _wrong(arguments: dict[str, Any]) -> dict[str, Any]:
    """The same arguments with the first one mistyped: a record that is not there."""
    name, value = next(iter(arguments.items()))
    slip = (
        value[:-1]
        if isinstance(value, str) and len(value) > 3
        else value + 100_000
        if isinstance(value, int)
        else value
    )
    return arguments | {name: slip}
