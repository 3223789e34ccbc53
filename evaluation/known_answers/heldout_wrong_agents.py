"""Agents that know the held-out tasks' gold calls and yet solve no task, each for another reason."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from core.dialogue import PlannedCall
from core.messages import AssistantMessage, ToolCall
from evaluation.known_answers.heldout_agents import AgentClass, KnownAgent, changes, say


class Idle(KnownAgent):
    """Does nothing and says that it is done."""

    def speak(self) -> AssistantMessage:
        return say(
            ("Done!", "Your request was processed successfully.", "It has been taken care of.")[len(self.texts) % 3]
        )


class Careless(KnownAgent):
    """Changes with wrong values, and reports wrong ones."""

    def script(self) -> Sequence[PlannedCall]:
        return [self._altered(call) if changes(call) else call for call in self.task.gold_calls]

    def _altered(self, call: PlannedCall) -> PlannedCall:
        """With another last argument: the new value of an update, else the record."""
        name, value = list(call.arguments.items())[-1]
        schema = self.tools[call.tool].parameters.get("properties", {}).get(name, {})
        others = [other for other in schema.get("enum", []) if other != value]
        wrong = others[0] if others else value + 1 if isinstance(value, int | float) else f"{value} x"
        return call.model_copy(update={"arguments": call.arguments | {name: wrong}})

    def values(self, indices: Sequence[int]) -> list[tuple[str, Any]]:
        return [
            (name, value + 1001 if isinstance(value, int | float) else f"q{str(value)[::-1]}z")
            for name, value in super().values(indices)
        ]


class Forgetful(KnownAgent):
    """Tells no values, and leaves out the last change of a task without any."""

    def script(self) -> Sequence[PlannedCall]:
        calls = self.task.gold_calls
        last = max((i for i, call in enumerate(calls) if changes(call)), default=-1)
        return calls if self.task.told_values else [call for i, call in enumerate(calls) if i != last]

    def values(self, indices: Sequence[int]) -> list[tuple[str, Any]]:
        return []


class Overzealous(KnownAgent):
    """Does what it should, and then changes something else, too."""

    def speak(self) -> AssistantMessage:
        message, extra = super().speak(), self._extra_calls()
        if message.tool_calls or self.others or not extra:
            return message
        calls = [ToolCall.make(f"x{number}", name, arguments) for number, (name, arguments) in enumerate(extra)]
        return AssistantMessage(tool_calls=tuple(calls))

    def _extra_calls(self) -> list[tuple[str, dict[str, Any]]]:
        """Calls of changing tools on the first records, of which at least one changes something."""
        numbers = count(1)
        return [
            (
                tool.name,
                {name: _invent(schema, next(numbers)) for name, schema in tool.parameters["properties"].items()},
            )
            for tool in self.tools.values()
            if changes(PlannedCall(tool=tool.name, arguments={}))
            for _ in range(6)
        ]


class Failing(KnownAgent):
    """Only reports errors."""

    def speak(self) -> AssistantMessage:
        texts = (
            "Error: no such record.",
            "Something went wrong.",
            "Oops, internal error 17.",
            "Sorry, I cannot do that.",
        )
        return say(texts[len(self.texts) % len(texts)])


WRONG: dict[str, AgentClass] = {
    "does nothing": Idle,
    "wrong values": Careless,
    "leaves out": Forgetful,
    "changes more": Overzealous,
    "only errors": Failing,
}


def _invent(schema: dict[str, Any], number: int) -> Any:
    """Any value that fits: small numbers, which are keys as well."""
    if "enum" in schema:
        return schema["enum"][number % len(schema["enum"])]
    return {"integer": number % 5 + 1, "number": 4242.5 + number}.get(schema.get("type", ""), f"odd {number}")
