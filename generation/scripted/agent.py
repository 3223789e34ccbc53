"""The stand-in's agent: does what the user has asked for so far, call by call, with visible reasoning.

It follows the task's plan only as far as the user's words cover it, fills placeholders from what the tools really returned,
asks where a value is missing or something would be lost without a yes, sometimes starts with a wrong argument and recovers, and
sometimes fails the user, as models do: those dialogues are there to be caught by the checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from core.dialogue import PlannedCall, placeholder, resolve_arguments
from core.messages import AssistantMessage, Message, ToolCall
from generation.llm.contexts import AgentContext
from generation.scripted.agent_hears import CLARIFY, UserIntent, confirmation, is_question, vaguely
from generation.scripted.agent_reports import reason, report
from generation.scripted.results import PastToolCall, calls_made, dig
from generation.scripted.verbs import destroys
from generation.specs.naming import changes, is_identifier

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
_NAMES = ("name", "title", "email", "label", "subject")


@dataclass(frozen=True)
class Done:
    """A call that was made: its plan index (None if it matches no planned call), its result, whether it failed, and the place of
    the result among the task's messages."""

    index: int | None
    value: Any
    failed: bool
    place: int


class Agent:
    def __init__(self, context: AgentContext, messages: tuple[Message, ...], rng: Random, error_rate: float) -> None:
        self.plan = context.task.plan
        self.subgoals = context.task.subgoals
        self.messages = messages[context.task_start :]
        self.rng = rng
        self.error_rate = error_rate
        self.heard = UserIntent(self.subgoals, self.messages)
        self.results: dict[int, Any] = {}
        self.attempts: list[Done] = []
        self._look_back()

    def _look_back(self) -> None:
        for made in calls_made(self.messages):
            done = Done(self._planned(made), made.value, made.status != "done", made.position)
            self.attempts.append(done)
            if done.index is not None and not done.failed:
                self.results[done.index] = done.value

    def _planned(self, made: PastToolCall) -> int | None:
        """The number of the planned call that this is, the first that is not done yet."""
        for index, planned in enumerate(self.plan):
            if planned.tool == made.name and index not in self.results and self._arguments(planned) == made.arguments:
                return index if made.arguments is not None else None
        return None

    def _arguments(self, planned: PlannedCall) -> dict[str, Any] | None:
        """The arguments with real values; None where an earlier result does not give one. Of several rows the first is taken, and
        a field is looked for wherever the result holds it."""
        try:
            return resolve_arguments(planned.arguments, self.results)
        except LookupError:
            found = {
                name: dig(self.results.get(wanted[0]), wanted[1] or "") if (wanted := placeholder(value)) else value
                for name, value in planned.arguments.items()
            }
            return None if any(found[n] is None and placeholder(v) for n, v in planned.arguments.items()) else found

    def speak(self) -> AssistantMessage:
        waiting = [index for index in self._wanted() if index not in self.results]
        ready = [index for index in waiting if self._may_try(index)]
        if not ready:
            sorry = [index for index in waiting if self._owes_apology(index)]
            return self._apologise(sorry) if sorry else self._answer()
        planned = self.plan[ready[0]]
        what = self.subgoals[planned.subgoal]
        if destroys(planned.tool) and not self.heard.trusting and not self.heard.confirmed(what):
            return self._say("This cannot be undone, so I ask first.", confirmation(what))
        if not self.results and changes(planned.tool) and self._slips(0.3):
            return self._say("This looks done.", f"Done: I have taken care of your wish to {what}.")
        return self._call(ready)

    def _wanted(self) -> list[int]:
        """The planned calls for all that was asked, with those whose results they need."""
        wanted = {index for index, call in enumerate(self.plan) if call.subgoal in self.heard.asked}
        while needed := {need for index in wanted for need in self._needs(index)} - wanted:
            wanted |= needed
        return sorted(wanted)

    def _needs(self, index: int) -> set[int]:
        found = [placeholder(value) for value in self.plan[index].arguments.values()]
        return {wanted[0] for wanted in found if wanted and wanted[0] < index}

    def _may_try(self, index: int) -> bool:
        """A call that failed is made once more if the user insists; one that needs it cannot be made."""
        failures = [done.place for done in self.attempts if done.index == index]
        if len(failures) > 1 or self._arguments(self.plan[index]) is None:
            return False
        return not failures or self.heard.insists(self.subgoals[self.plan[index].subgoal], failures[-1])

    def _owes_apology(self, index: int) -> bool:
        """Whether the user has not been told yet that this could not be done, or asks for it again."""
        what = self.subgoals[self.plan[index].subgoal]
        told = [
            place
            for place, message in enumerate(self.messages)
            if isinstance(message, AssistantMessage) and f"could not {what}" in message.content
        ]
        failures = [done.place for done in self.attempts if done.index == index]
        return not told or any(place > told[-1] for place in failures) or self.heard.insists(what, told[-1])

    def _call(self, ready: list[int]) -> AssistantMessage:
        batch = [ready[0]]
        if len(ready) > 1 and self._reads(ready[0]) and self._reads(ready[1]) and self.rng.random() < 0.4:
            batch = ready[:2]
        calls: list[ToolCall] = []
        thoughts: list[str] = []
        for index in batch:
            planned, arguments = self.plan[index], self._arguments(self.plan[index])
            assert arguments is not None, "only what can be made is ready"
            if not self.attempts and not changes(planned.tool) and self._slips(1.0):
                arguments = _wrong(arguments)
            given = ", ".join(f"{key} = {value}" for key, value in arguments.items()) or "no arguments"
            what = self.subgoals[planned.subgoal]
            thoughts.append(self.rng.choice(_THINK).format(what=what, tool=planned.tool, given=given))
            calls.append(ToolCall.make(f"call_{len(calls)}", planned.tool, arguments))
        if self.attempts and self.attempts[-1].index is None:
            thoughts.insert(0, "That was not it: I had mistyped an argument. Again with the right one.")
        return AssistantMessage(reasoning_content=" ".join(thoughts), tool_calls=tuple(calls))

    def _apologise(self, indices: list[int]) -> AssistantMessage:
        parts = self._reports(self._fresh())
        for number in dict.fromkeys(self.plan[index].subgoal for index in indices):
            about = {index for index, call in enumerate(self.plan) if call.subgoal == number}
            causes = about | {need for index in about for need in self._needs(index)}
            values = [done.value for done in reversed(self.attempts) if done.failed and done.index in causes]
            why = reason(values[0]) if values else ""
            parts.append(
                f"I am sorry, I could not {self.subgoals[number]}{f': {why}' if why else ', nothing was found'}."
            )
        return self._say("A planned call failed; the honest thing is to say so.", " ".join(parts))

    def _answer(self) -> AssistantMessage:
        done = self._reports(self._fresh())
        if self.heard.vague:
            goal = vaguely(self.subgoals[min(self.heard.vague)])
            thought = f"The user wants to {goal}, but not to what."
            return self._say(thought, " ".join([*done, f"Happy to {goal}. {CLARIFY}"]))
        if done and self._slips(0.15):
            return self._say("Short answer.", "It is all done. Anything else?")
        if done:
            return self._say(self.rng.choice(_REPORT), " ".join(done))
        return self._nothing_new()

    def _nothing_new(self) -> AssistantMessage:
        """The user asks again for what was done, or speaks of something else."""
        again = {number for number in self.heard.asked if self.heard.in_last_message(self.subgoals[number])}
        done = self._reports({index for index in self.results if self.plan[index].subgoal in again})
        if done:
            return self._say("This was done before; I repeat the result.", " ".join(["As I said:", *done]))
        if helpless := [number for number in sorted(again) if number not in {call.subgoal for call in self.plan}]:
            what = self.subgoals[helpless[0]]
            return self._say("No tool does this.", f"I am sorry, I have no means to {what}.")
        if self.heard.asked:
            return self._say("Nothing is left to do right now.", "Is there anything else that I can do for you?")
        return self._say("There is no request yet.", "I am here to help. What can I do for you?")

    def _reports(self, indices: set[int]) -> list[str]:
        last = {call.subgoal: index for index, call in enumerate(self.plan)}
        parts = [
            report(
                self.subgoals[self.plan[index].subgoal],
                self.results[index],
                self.plan[index].tell,
                changed=changes(self.plan[index].tool),
                last=last[self.plan[index].subgoal] == index,
            )
            for index in sorted(indices)
        ]
        return [part for part in parts if part] or (["That is done."] if indices else [])

    def _fresh(self) -> set[int]:
        """Plan indices whose results came after the assistant last reported to the user; a question reports nothing."""
        reported = [
            place
            for place, message in enumerate(self.messages)
            if isinstance(message, AssistantMessage) and not message.tool_calls and not is_question(message)
        ]
        since = reported[-1] if reported else -1
        return {
            done.index for done in self.attempts if done.place > since and done.index is not None and not done.failed
        }

    def _reads(self, index: int) -> bool:
        planned = self.plan[index]
        return not changes(planned.tool) and not any(map(placeholder, planned.arguments.values()))

    def _slips(self, share: float) -> bool:
        return self.rng.random() < self.error_rate * share

    def _say(self, thought: str, content: str) -> AssistantMessage:
        """Nobody says the same thing twice in a row."""
        said = [m.content for m in self.messages if isinstance(m, AssistantMessage) and not m.tool_calls]
        repeated = bool(said) and said[-1] == content and not content.startswith(("This will ", "Happy to "))
        return AssistantMessage(reasoning_content=thought, content=f"Once more: {content}" if repeated else content)


def _wrong(arguments: dict[str, Any]) -> dict[str, Any]:
    """The same arguments with an identifier or a name mistyped: a record that is not there. Unchanged where there is none."""
    for name, value in arguments.items():
        if is_identifier(name) or any(part in name.lower() for part in _NAMES):
            if isinstance(value, int) and not isinstance(value, bool):
                return arguments | {name: value + 100_000}
            if isinstance(value, str) and len(value) > 3:
                return arguments | {name: value[:-1]}
    return arguments
