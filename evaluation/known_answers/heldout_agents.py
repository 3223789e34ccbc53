"""Agents that know the held-out tasks' gold calls and solve every task, each in its own words.

They do what the user has asked for so far, like any agent; the gold calls only spare them the thinking.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from core.dialogue import PlannedCall, Task
from core.messages import AssistantMessage, Message, ToolCall, ToolMessage, ToolSpec, UserMessage

WITHDRAWAL = "forget that I wanted to "


class KnownAgent:
    """The next message in a task: `messages` are the task's. Terse: calls one by one, then the values or "Done."."""

    def __init__(self, task: Task, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> None:
        self.task = task
        self.tools = {tool.name: tool for tool in tools}
        self.messages = messages
        self.texts = [m.content for m in messages if isinstance(m, AssistantMessage) and not m.tool_calls]
        self.calls = list(self.script())
        self.results: dict[int, Any] = {}
        self.fresh: list[int] = []
        """The calls made since the last message to the user."""
        self.others = 0
        """Calls made that were not planned."""
        self._read()

    def script(self) -> Sequence[PlannedCall]:
        """The calls to make, one for each gold call."""
        return self.task.gold_calls

    def _read(self) -> None:
        results = {m.tool_call_id: m.content for m in self.messages if isinstance(m, ToolMessage)}
        for message in self.messages:
            if isinstance(message, AssistantMessage) and not message.tool_calls:
                self.fresh = []
            for made in message.tool_calls or () if isinstance(message, AssistantMessage) else ():
                index = self._index(made)
                if index is None:
                    self.others += 1
                else:
                    self.results[index] = json.loads(results[made.id])
                    self.fresh.append(index)

    def _index(self, made: ToolCall) -> int | None:
        """The first planned call without a result that this call is."""
        return next(
            (
                index
                for index, call in enumerate(self.calls)
                if index not in self.results and (call.tool, call.arguments) == (made.name, made.parsed())
            ),
            None,
        )

    def requested(self, until: int | None = None) -> list[int]:
        """The subgoals that the user wants, as far as message `until` (None: the last)."""
        texts = [m.content for m in self.messages[:until] if isinstance(m, UserMessage)]
        return [number for number, goal in enumerate(self.task.subgoals) if _wants(goal, texts)]

    def speak(self) -> AssistantMessage:
        due = [i for i, call in enumerate(self.calls) if i not in self.results and call.subgoal in self.requested()]
        if due:
            question = self.question(due)
            return say(question) if question else self.act(due)
        hint = next((hint for goal in self._open() if (hint := _hint(goal, self._last_said()))), "")
        if hint and not self.fresh:
            return say(self.clarify(hint))
        return say(self.report(self.fresh or sorted(self.results)))

    def _open(self) -> list[str]:
        requested = self.requested()
        return [goal for number, goal in enumerate(self.task.subgoals) if number not in requested]

    def _last_said(self) -> str:
        return next((m.content for m in reversed(self.messages) if isinstance(m, UserMessage)), "")

    def question(self, due: Sequence[int]) -> str:
        """What the agent asks before it makes the due calls; "" for nothing."""
        return ""

    def clarify(self, hint: str) -> str:
        """Asks for the value that a request lacks."""
        return "To what?"

    def act(self, due: Sequence[int]) -> AssistantMessage:
        return self.call([due[0]])

    def call(self, indices: Sequence[int], content: str = "") -> AssistantMessage:
        calls = [ToolCall.make(f"k{i}", self.calls[i].tool, self.calls[i].arguments) for i in indices]
        return AssistantMessage(content=content, tool_calls=tuple(calls))

    def values(self, indices: Sequence[int]) -> list[tuple[str, Any]]:
        """(field, value) of everything that these calls give to tell."""
        found = []
        for index in indices:
            result = self.results[index]
            for row in result if isinstance(result, list) else [result]:
                found += [(name, row[name]) for name in self.calls[index].tell if isinstance(row, dict) and name in row]
        return found

    def report(self, indices: Sequence[int]) -> str:
        return "; ".join(str(value) for _, value in self.values(indices)) or "Done."


class Chatty(KnownAgent):
    """Excuses itself, thinks aloud, writes numbers with separators and offers more help."""

    _OPENINGS = (
        "Sorry for the wait!",
        "Apologies for the delay, the system was a little slow today.",
        "Thanks for your patience, and I'm sorry about the inconvenience!",
        "Right, here we go.",
    )
    _DONE = (
        "The entry was added or changed just as you wanted.",
        "That's all set now.",
        "All taken care of, no errors!",
    )
    _CLOSINGS = (
        "Is there anything else I can help you with today?",
        "Let me know if you need anything else.",
        "Would you like any further assistance?",
    )

    def act(self, due: Sequence[int]) -> AssistantMessage:
        return self.call([due[0]], "One moment please, I am looking into that for you…")

    def clarify(self, hint: str) -> str:
        return f"Sure, happy to {hint}! I just need the new value from you, and then I'll get right to it."

    def report(self, indices: Sequence[int]) -> str:
        number = len(self.texts)
        told = [
            f"the {name.replace('_', ' ')} is **{value:,}**"
            if isinstance(value, int | float)
            else f"the {name} is {value}"
            for name, value in self.values(indices)
        ]
        body = f"I found that {', and '.join(told)}." if told else self._DONE[number % 3]
        return f"{self._OPENINGS[number % 4]} {body} {self._CLOSINGS[number % 3]}"


class Confirming(KnownAgent):
    """Has the user confirm every call that changes something, in ever different words."""

    CONFIRM = (
        "Shall I go ahead",
        "Please confirm that you want me to {0}.",
        "I am about to {0}. Is that okay with you",
        "Just to be sure: you would like to {0}, correct?",
        "Before I do this, I need your approval.",
        "This can't be undone, I'm afraid. Reply YES to proceed.",
        "Do you really want to {0}? (yes/no)",
        "Let me know if that's right, and I'll take care of it.",
        "Sorry to ask again, but may I {0} now?",
        "I will {0} as soon as you give me the go-ahead.",
    )

    def question(self, due: Sequence[int]) -> str:
        call = self.calls[due[0]]
        if not changes(call) or self._confirmed(call):
            return ""
        found = self.report(self.fresh) if self.values(self.fresh) else ""
        return f"{found} {self._request(call)}".strip()

    def _request(self, call: PlannedCall) -> str:
        place = len(self.task.goal) + self.calls.index(call)
        return self.CONFIRM[place % len(self.CONFIRM)].format(self.task.subgoals[call.subgoal])

    def _confirmed(self, call: PlannedCall) -> bool:
        """Whether the user agreed when it was asked last."""
        asked = [n for n, m in enumerate(self.messages) if self._asks(m, call)]
        replies = [m.content for m in self.messages[asked[-1] :] if isinstance(m, UserMessage)][:1] if asked else []
        return bool(replies) and WITHDRAWAL not in replies[0]

    def _asks(self, message: Message, call: PlannedCall) -> bool:
        return isinstance(message, AssistantMessage) and message.content.endswith(self._request(call))

    def clarify(self, hint: str) -> str:
        return f"Understood, you want to {hint}; what to, please"

    def report(self, indices: Sequence[int]) -> str:
        told = [f"{name}: {value}" for name, value in self.values(indices)]
        return f"Result: {', '.join(told)}." if told else "As confirmed by you, this has been carried out."


class Inquiring(KnownAgent):
    """Asks back for details of every request before it does anything."""

    QUESTIONS = (
        "Which one do you mean",
        "Could you tell me exactly what you need?",
        "I need the details before I can look that up.",
        "Please specify which record this is about.",
        "Hmm, what exactly should I do there",
        "I'm missing some information. Can you spell it out for me",
        "There may be several that fit: 1) the first, 2) another one. Which of them is yours? Thanks for helping me out.",
        "Sorry, I did not quite get that. Would you repeat it in full",
        "To be able to help I'd like to know what this concerns.",
        "Let me know which entry, and what should happen to it.",
    )

    def question(self, due: Sequence[int]) -> str:
        subgoal = self.calls[due[0]].subgoal
        asked = [n for n, m in enumerate(self.messages) if isinstance(m, AssistantMessage) and self._is_question(m)]
        if any(subgoal in self.requested(n) for n in asked):
            return ""
        found = self.report(self.fresh) if self.values(self.fresh) else ""
        place = len(self.task.goal) + len(asked)
        return f"{found} {self.QUESTIONS[place % len(self.QUESTIONS)]}".strip()

    def _is_question(self, message: AssistantMessage) -> bool:
        return message.content.endswith(self.QUESTIONS)

    def clarify(self, hint: str) -> str:
        return "What should it be instead"

    def report(self, indices: Sequence[int]) -> str:
        told = [f"{value} ({name})" for name, value in self.values(indices)]
        return f"Thank you. The answer: {' / '.join(told)}" if told else "Thank you, it is in the system now."


class Parallel(KnownAgent):
    """Makes all calls of the requests so far in one message, and answers with a table."""

    def act(self, due: Sequence[int]) -> AssistantMessage:
        return self.call(due)

    def clarify(self, hint: str) -> str:
        return "I couldn't do that yet: the new value is missing."

    def report(self, indices: Sequence[int]) -> str:
        told = [f"| {name} | {value} |" for name, value in self.values(indices)]
        return "\n".join(["| field | value |", "|---|---|", *told]) if told else "| status | ok |"


AgentClass = Callable[[Task, Sequence[Message], Sequence[ToolSpec]], KnownAgent]
CORRECT: dict[str, AgentClass] = {
    "terse": KnownAgent,
    "chatty": Chatty,
    "confirming": Confirming,
    "asking back": Inquiring,
    "parallel calls": Parallel,
}


def say(text: str) -> AssistantMessage:
    return AssistantMessage(content=text)


def changes(call: PlannedCall) -> bool:
    return not re.match(r"(get|find|search|list|top|total|count)_", call.tool)


def _wants(goal: str, texts: Sequence[str]) -> bool:
    named = [text for text in texts if re.search(rf"(?<!\w){re.escape(goal)}(?!\w)", text, re.I)]
    return bool(named) and f"{WITHDRAWAL}{goal}" not in named[-1]


def _hint(goal: str, text: str) -> str:
    """The goal without its new value, if the text asks for that much; else ""."""
    hint = goal.rpartition(" to ")[0] if goal.startswith("change ") else ""
    return hint if hint and re.search(rf"(?<!\w){re.escape(hint)}(?!\w)", text, re.I) and WITHDRAWAL not in text else ""
