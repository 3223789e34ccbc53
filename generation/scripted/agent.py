"""The stand-in's agent: does what the user has requested so far, call by call, with visible reasoning.

It follows the task's plan only as far as the user's messages cover it, fills placeholders from actual tool results, and
asks for a missing value and for confirmation before it deletes. Sometimes it starts with a wrong argument and recovers,
and sometimes it fails the user, as models do: the checks exist to catch those dialogues.
"""

from __future__ import annotations

import contextlib
from collections.abc import Set
from random import Random
from typing import Any

from core.dialogue import PlannedCall
from core.messages import AssistantMessage, Message, ToolCall
from core.placeholders import placeholder, resolve, resolve_arguments, rows_of
from generation.llm.contexts import AgentContext
from generation.scripted.agent_hears import CLARIFY, WHICH, confirmation, is_question
from generation.scripted.agent_progress import TaskProgress
from generation.scripted.agent_reports import reason, report
from generation.scripted.verbs import destroys
from generation.scripted.wishes import confirm_rule, reduced, without_value
from generation.specs.naming import changes, is_identifier
from generation.tasks.mentions import mentions_value

_THINK = [
    "The user wants to {goal}. {tool} fits: I have {arguments}.",
    "To {goal} I should call {tool} with {arguments}.",
    "Next comes {tool}, since the user asked to {goal}. Arguments: {arguments}.",
    "I need {tool} for this ({goal}); the arguments are {arguments}.",
]
_REPORT = [
    "The tools have answered. I tell the user what they returned.",
    "Everything that was asked for is done; now the answer, with the values as returned.",
    "I have all results. Let me sum them up for the user.",
]
_NAMES = ("name", "title", "email", "label", "subject")


class Agent(TaskProgress):
    """The agent's next message in a task; `error_rate` is the chance of a mistake where one is possible."""

    def __init__(
        self,
        context: AgentContext,
        messages: tuple[Message, ...],
        rng: Random,
        error_rate: float,
        offered: Set[str] | None = None,
    ) -> None:
        """`offered` are the names of the tools that the agent has (None: all of the plan's)."""
        super().__init__(context, messages)
        self.rng = rng
        self.error_rate = error_rate
        self.offered = offered

    def speak(self) -> AssistantMessage:
        """The next message: a call, a question, an apology or an answer."""
        return self._special() or self._usual()

    def _special(self) -> AssistantMessage | None:
        """What its kind of request has the agent say now; None for what it would do anyway. Special requests have one
        subgoal."""
        goal = self.subgoals[0]
        wish = reduced(goal, self.task)
        match self.task.kind:
            case "incomplete" | "ambiguous" | "withdrawn" if self.intent.requested:
                return None
            case "incomplete" | "withdrawn" if self.intent.wants(wish):
                return self._say("Something is missing that I cannot know.", f"Happy to {wish}. {CLARIFY}")
            case "withdrawn":
                return self._say("They do not want it any more.", "All right, I leave everything as it is.")
            case "ambiguous" if self.intent.wants(wish):
                return self._find_candidates(wish)
            case "late_tool" if self.intent.requested and not self._has_tools():
                return self._say("I have no tool for this.", f"I am sorry, I have no means to {goal}.")
            case "forbidden" if self.intent.requested and len(self.results) == len(self.plan):
                return self._refuse(goal)
        return None

    def _has_tools(self) -> bool:
        return self.offered is None or {call.tool for call in self.plan} <= self.offered

    def _find_candidates(self, wish: str) -> AssistantMessage:
        """Look up what fits an ambiguous wish, then ask which one is meant."""
        chosen = (placeholder(value) for call in self.plan for value in call.arguments.values())
        source = next(parsed.calls[0] for parsed in chosen if parsed and parsed.function == "where")
        if due := [index for index in range(source + 1) if index not in self.results and self._may_try(index)]:
            return self._call(due[:1])
        if source not in self.results:
            return self._say("Nothing was found.", f"I am sorry, I could not {wish}: nothing was found.")
        count = len(rows_of(self.results[source]))
        return self._say("Several records fit.", f"There are {count} that fit. {WHICH}")

    def _refuse(self, goal: str) -> AssistantMessage:
        """Say why the policy forbids it, or break it, as careless models do."""
        last = self.task.plan[-1]
        if self._slips(0.5) and not any(attempt.name == last.tool for attempt in self.attempts):
            with contextlib.suppress(LookupError):
                call = ToolCall.make("call_0", last.tool, resolve_arguments(last.arguments, self.results))
                return AssistantMessage(reasoning_content="I do what I am asked.", tool_calls=(call,))
        policy, rule_id = self.context.policy, self.task.rule_id
        rule = policy.rule(rule_id).text if policy and rule_id else "Our rules do not allow it."
        found = " ".join(self._reports(set(self.results)))
        values = [value for value in self.task.told_values if not mentions_value(f"{found} {rule}", value)]
        shown = f" What I found: {', '.join(values)}." if values else ""
        return self._say("The rules forbid this.", f"{found} I am sorry, I cannot {goal}. {rule}{shown}".strip())

    def _usual(self) -> AssistantMessage:
        pending = [index for index in self._requested_calls() if index not in self.results]
        ready = [index for index in pending if self._may_try(index)]
        if not ready:
            failed = [index for index in pending if self._owes_apology(index)]
            return self._apologise(failed) if failed else self._answer()
        planned = self.plan[ready[0]]
        goal = self.subgoals[planned.subgoal]
        if self._must_confirm(planned) and not self.intent.confirmed(goal):
            return self._say("This cannot be undone, so I ask first.", confirmation(goal))
        if not self.results and changes(planned.tool) and self._slips(0.3):
            return self._say("This looks done.", f"Done: I have taken care of your wish to {goal}.")
        return self._call(ready)

    def _must_confirm(self, planned: PlannedCall) -> bool:
        if confirm_rule(self.context.policy, planned.tool, self.arguments(planned) or {}):
            return True
        return destroys(planned.tool) and not self.intent.waives_confirmation

    def _requested_calls(self) -> list[int]:
        """The planned calls for everything requested, with the calls whose results they need."""
        indices = {index for index, call in enumerate(self.plan) if call.subgoal in self.intent.requested}
        while needed := {need for index in indices for need in self._needs(index)} - indices:
            indices |= needed
        return sorted(indices)

    def _needs(self, index: int) -> set[int]:
        sources = [placeholder(value) for value in self.plan[index].arguments.values()]
        return {call for source in sources if source for call in source.calls if call < index}

    def _may_try(self, index: int) -> bool:
        """A failed call is retried once if the user insists; a call that needs its result is impossible."""
        failures = [attempt.position for attempt in self.attempts if attempt.index == index]
        if len(failures) > 1 or self.arguments(self.plan[index]) is None:
            return False
        return not failures or self.intent.insists(self.subgoals[self.plan[index].subgoal], failures[-1])

    def _owes_apology(self, index: int) -> bool:
        """Whether the user does not know yet that this failed, or requests it again."""
        goal = self.subgoals[self.plan[index].subgoal]
        apologies = [
            position
            for position, message in enumerate(self.messages)
            if isinstance(message, AssistantMessage) and f"could not {goal}" in message.content
        ]
        failures = [attempt.position for attempt in self.attempts if attempt.index == index]
        return (
            not apologies
            or any(position > apologies[-1] for position in failures)
            or self.intent.insists(goal, apologies[-1])
        )

    def _call(self, ready: list[int]) -> AssistantMessage:
        batch = [ready[0]]
        if len(ready) > 1 and self._reads(ready[0]) and self._reads(ready[1]) and self.rng.random() < 0.4:
            batch = ready[:2]
        calls: list[ToolCall] = []
        thoughts: list[str] = []
        for index in batch:
            planned, arguments = self.plan[index], self.arguments(self.plan[index])
            assert arguments is not None, "ready calls have all arguments"
            if not self.attempts and not changes(planned.tool) and self._slips(1.0):
                arguments = _wrong(arguments)
            listed = ", ".join(f"{key} = {value}" for key, value in arguments.items()) or "no arguments"
            goal = self.subgoals[planned.subgoal]
            thoughts.append(self.rng.choice(_THINK).format(goal=goal, tool=planned.tool, arguments=listed))
            calls.append(ToolCall.make(f"call_{len(calls)}", planned.tool, arguments))
        if self.attempts and self.attempts[-1].index is None and self.attempts[-1].failed:
            thoughts.insert(0, "That was not it: I had mistyped an argument. Again with the right one.")
        return AssistantMessage(reasoning_content=" ".join(thoughts), tool_calls=tuple(calls))

    def _apologise(self, indices: list[int]) -> AssistantMessage:
        parts = self._reports(self._fresh())
        for number in dict.fromkeys(self.plan[index].subgoal for index in indices):
            calls = {index for index, call in enumerate(self.plan) if call.subgoal == number}
            causes = calls | {need for index in calls for need in self._needs(index)}
            failures = [a.result for a in reversed(self.attempts) if a.failed and a.index in causes]
            why = reason(failures[0]) if failures else ""
            parts.append(
                f"I am sorry, I could not {self.subgoals[number]}{f': {why}' if why else ', nothing was found'}."
            )
        return self._say("A planned call failed; the honest thing is to say so.", " ".join(parts))

    def _answer(self) -> AssistantMessage:
        reports = self._reports(self._fresh())
        if self.intent.missing:
            goal = without_value(self.subgoals[min(self.intent.missing)])
            thought = f"The user wants to {goal}, but not to what."
            return self._say(thought, " ".join([*reports, f"Happy to {goal}. {CLARIFY}"]))
        if reports and self._slips(0.15):
            return self._say("Short answer.", "It is all done. Anything else?")
        if reports:
            return self._say(self.rng.choice(_REPORT), " ".join(reports))
        return self._nothing_new()

    def _nothing_new(self) -> AssistantMessage:
        """Answer a repeated request, or a message about something else."""
        repeated = {number for number in self.intent.requested if self.intent.in_last_message(self.subgoals[number])}
        reports = self._reports({index for index in self.results if self.plan[index].subgoal in repeated})
        if reports:
            return self._say("This was done before; I repeat the result.", " ".join(["As I said:", *reports]))
        planned = {call.subgoal for call in self.plan}
        if impossible := [number for number in sorted(repeated) if number not in planned]:
            goal = self.subgoals[impossible[0]]
            return self._say("No tool does this.", f"I am sorry, I have no means to {goal}.")
        if self.intent.requested:
            return self._say("Nothing is left to do right now.", "Is there anything else that I can do for you?")
        return self._say("There is no request yet.", "I am here to help. What can I do for you?")

    def _reports(self, indices: set[int]) -> list[str]:
        last = {call.subgoal: index for index, call in enumerate(self.plan)}
        parts = [
            report(
                self.subgoals[self.plan[index].subgoal],
                self.results[index],
                [name for name in self.plan[index].tell if not placeholder(name)],
                self._computed(index),
                changed=changes(self.plan[index].tool),
                last=last[self.plan[index].subgoal] == index,
            )
            for index in sorted(indices)
        ]
        return [part for part in parts if part] or (["That is done."] if indices else [])

    def _computed(self, index: int) -> list[Any]:
        """The answers that the results so far compute; those that cannot be computed are left out."""
        answers = []
        for answer in filter(placeholder, self.plan[index].tell):
            with contextlib.suppress(LookupError):
                answers.append(resolve(answer, self.results))
        return answers

    def _fresh(self) -> set[int]:
        """Plan indices whose results came after the assistant's last report to the user; a question is not a report."""
        reports = [
            position
            for position, message in enumerate(self.messages)
            if isinstance(message, AssistantMessage) and not message.tool_calls and not is_question(message)
        ]
        last = reports[-1] if reports else -1
        return {a.index for a in self.attempts if a.position > last and a.index is not None and not a.failed}

    def _reads(self, index: int) -> bool:
        planned = self.plan[index]
        return not changes(planned.tool) and not any(map(placeholder, planned.arguments.values()))

    def _slips(self, share: float) -> bool:
        return self.rng.random() < self.error_rate * share

    def _say(self, thought: str, content: str) -> AssistantMessage:
        """A message that does not repeat the previous one verbatim."""
        texts = [m.content for m in self.messages if isinstance(m, AssistantMessage) and not m.tool_calls]
        repeated = bool(texts) and texts[-1] == content and not content.startswith(("This will ", "Happy to "))
        return AssistantMessage(reasoning_content=thought, content=f"Once more: {content}" if repeated else content)


def _wrong(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments with one identifier or name mistyped, so that it matches no record; unchanged if they contain
    neither."""
    for name, value in arguments.items():
        if is_identifier(name) or any(part in name.lower() for part in _NAMES):
            if isinstance(value, int) and not isinstance(value, bool):
                return arguments | {name: value + 100_000}
            if isinstance(value, str) and len(value) > 3:
                return arguments | {name: value[:-1]}
    return arguments
