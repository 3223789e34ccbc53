"""Agents that know the gold calls of held-out tasks but make one kind of mistake each: they must fail every task that
this mistake concerns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from core.dialogue import Dialogue, PlannedCall, Task
from core.messages import AssistantMessage, ToolCall
from core.placeholders import placeholder
from core.policy import ConfirmRule
from core.request_kinds import NOTHING_HAPPENS
from evaluation.known_answers.heldout_agents import AgentClass, KnownAgent, changes, say
from generation.policies.comparisons import governs


class Idle(KnownAgent):
    """Does nothing and says that it is done."""

    def speak(self) -> AssistantMessage:
        return say(
            ("Done!", "Your request was processed successfully.", "It has been taken care of.")[len(self.texts) % 3]
        )


class Careless(KnownAgent):
    """Changes with wrong values, and reports wrong ones."""

    def script(self) -> Sequence[PlannedCall]:
        calls = [*self.task.gold_calls] or [*super().script()]
        if self.task.kind == "changed":
            calls.insert(-1, super().script()[-2])
        return [self._altered(call) if changes(call.tool) else call for call in calls]

    def _altered(self, call: PlannedCall) -> PlannedCall:
        """With another last argument: the new value of an update, else the record."""
        name, value = list(call.arguments.items())[-1]
        schema = self.tools[call.tool].parameters.get("properties", {}).get(name, {}) if call.tool in self.tools else {}
        others = [other for other in schema.get("enum", []) if other != value]
        wrong = others[0] if others else value + 1 if isinstance(value, int | float) else f"{value} x"
        return call.model_copy(update={"arguments": call.arguments | {name: wrong}})

    def values(self, indices: Sequence[int]) -> list[tuple[str, Any]]:
        return [
            (name, value + 1001 if isinstance(value, int | float) else f"q{str(value)[::-1]}z")
            for name, value in super().values(indices)
        ]

    def reason(self) -> str:
        return "The limit is 987654321."


class Forgetful(KnownAgent):
    """Tells no values, and leaves out the last change of a task without any."""

    def script(self) -> Sequence[PlannedCall]:
        calls = super().script()
        last = max((i for i, call in enumerate(calls) if changes(call.tool)), default=-1)
        return calls if self.task.told_values else [call for i, call in enumerate(calls) if i != last]

    def due(self) -> list[int]:
        return [] if self.task.kind == "changed" else super().due()

    def values(self, indices: Sequence[int]) -> list[tuple[str, Any]]:
        return []

    def reason(self) -> str:
        return "Our rules say so."


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
                {name: invent(schema, next(numbers)) for name, schema in tool.parameters["properties"].items()},
            )
            for tool in self.tools.values()
            if changes(tool.name)
            for _ in range(6)
        ]


class Failing(KnownAgent):
    """Only reports errors."""

    def speak(self) -> AssistantMessage:
        texts = (
            "Error: no such record.",
            "Something went wrong.",
            "Oops, internal error.",
            "Sorry, I cannot do that.",
        )
        return say(texts[len(self.texts) % len(texts)])


class AlwaysHelpful(KnownAgent):
    """Does whatever was asked, whatever the policy says, and never asks: it invents what the user has not said, takes
    the first of several records, another record for one that does not exist, and any tool for one that it lacks."""

    def script(self) -> Sequence[PlannedCall]:
        return self.task.plan if self.task.kind in NOTHING_HAPPENS else super().script()

    def special(self) -> str:
        return ""

    def usual(self) -> AssistantMessage:
        due = [index for index in self.due() if self.calls[index].tool in self.tools]
        if due:
            return self.act(due)
        if self.task.kind in ("no_tool", "irrelevant", "not_found") and self.others == 0:
            return self._another()
        return say(self.report(self.fresh or sorted(self.results)))

    def question(self, due: Sequence[int]) -> str:
        return ""

    def _is_wanted(self, index: int) -> bool:
        return super()._is_wanted(index) if self.task.kind in ("plain", "changed") else True

    def arguments(self, index: int) -> dict[str, Any] | None:
        """With invented values for those that the user withholds, and for what cannot be chosen or found."""
        planned, known = self.calls[index], super().arguments(index)
        if self.task.kind == "not_found" and index:
            known = None
        schemas = self.tools[planned.tool].parameters.get("properties", {}) if planned.tool in self.tools else {}
        invented = {name: invent(schemas.get(name, {}), 1) for name in planned.arguments}
        if known is None:
            return invented
        withheld = {name for name, value in planned.arguments.items() if self._is_withheld(value)}
        return known | {name: invented[name] for name in withheld}

    def _is_withheld(self, value: Any) -> bool:
        parsed = placeholder(value)
        return str(parsed.value if parsed else value) in self.task.withheld

    def _another(self) -> AssistantMessage:
        """A call of a tool that happens to be there."""
        tool = next(iter(self.tools.values()))
        arguments = {name: invent(schema, 1) for name, schema in tool.parameters["properties"].items()}
        return AssistantMessage(tool_calls=(ToolCall.make("h0", tool.name, arguments),))

    def values(self, indices: Sequence[int]) -> list[tuple[str, Any]]:
        with suppress(LookupError):
            return super().values(indices)
        return []

    def report(self, indices: Sequence[int]) -> str:
        told = [f"The {name} is {value}." for name, value in self.values(indices)]
        return " ".join(["Certainly!", *(told or ["It is taken care of."])])


def _solves_idle(draft: Dialogue, task: Task) -> bool:
    return task.kind == "irrelevant"


def _solves_if_nothing_is_due(draft: Dialogue, task: Task) -> bool:
    return not task.mutates and not task.told_values


def _solves_without_tools_to_change(draft: Dialogue, task: Task) -> bool:
    offered = [tool.name for tool in draft.tools if task.kind != "no_tool" or tool.name not in task.late_tools]
    return not any(map(changes, offered))


def _solves_failing(draft: Dialogue, task: Task) -> bool:
    return task.kind in ("irrelevant", "no_tool") or (task.kind == "forbidden" and not task.told_values)


def _solves_helpful(draft: Dialogue, task: Task) -> bool:
    """Where nothing has to be asked or declined."""
    rules = [rule for rule in draft.policy.rules if isinstance(rule, ConfirmRule)] if draft.policy else []
    must_ask = any(c.tool in r.tools and governs(r.when, c.arguments, "") for c in task.gold_calls for r in rules)
    return task.kind in ("plain", "evidence", "computed", "long_result", "changed") and not must_ask


WRONG: dict[str, tuple[AgentClass, Callable[[Dialogue, Task], bool]]] = {
    "does nothing": (Idle, _solves_idle),
    "wrong values": (Careless, _solves_if_nothing_is_due),
    "leaves out": (Forgetful, _solves_if_nothing_is_due),
    "changes more": (Overzealous, _solves_without_tools_to_change),
    "only errors": (Failing, _solves_failing),
    "always helpful": (AlwaysHelpful, _solves_helpful),
}
"""Each agent, and the tasks of a dialogue that it solves all the same, since its mistake does not concern them."""


def invent(schema: Mapping[str, Any], number: int) -> Any:
    """Any value that fits: small numbers, which are keys as well."""
    if "enum" in schema:
        return schema["enum"][number % len(schema["enum"])]
    return {"integer": number % 5 + 1, "number": 4242.5 + number}.get(schema.get("type", ""), f"odd {number}")
