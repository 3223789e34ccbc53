"""An agent that knows the held-out tasks' plans and solves every task: what it does next, in the fewest words.

It does what the user has asked for so far, like any agent; the plan only spares it the thinking. Each thing that it
says is a method, which agents with other words override (heldout_voices.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from core.dialogue import PlannedCall, Task
from core.messages import AssistantMessage, Message, ToolCall, ToolMessage, ToolSpec, UserMessage
from core.placeholders import placeholder, resolve, resolve_arguments, rows_of
from core.policy import ConfirmRule, IdentityRule, Policy
from evaluation.known_answers.heldout_wishes import WITHDRAWAL, Wishes, hint
from generation.policies.comparisons import governs


class KnownAgent:
    """The next message in a task: `messages` are the task's, `tools` those offered now. Terse: calls one by one, then
    the values or "Done."."""

    def __init__(
        self, task: Task, messages: Sequence[Message], tools: Sequence[ToolSpec], policy: Policy | None = None
    ) -> None:
        self.task = task
        self.policy = policy
        self.tools = {tool.name: tool for tool in tools}
        self.messages = messages
        self.wishes = Wishes(task, messages)
        self.texts = [m.content for m in messages if isinstance(m, AssistantMessage) and not m.tool_calls]
        self.calls = list(self.script())
        self.results: dict[int, Any] = {}
        self.fresh: list[int] = []
        """The calls made since the last message to the user."""
        self.others = 0
        """Calls made that were not planned."""
        self._read()

    def script(self) -> Sequence[PlannedCall]:
        """The calls to make. Of a changed wish, the last but one is what the user wanted first."""
        plan = self.task.expected_plan
        if self.task.kind == "changed":
            first = plan[-1].model_copy(update={"arguments": plan[-1].arguments | self.task.first_arguments})
            return (*plan[:-1], first, plan[-1])
        return plan

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
                if index not in self.results and (call.tool, self.arguments(index)) == (made.name, made.parsed())
            ),
            None,
        )

    def arguments(self, index: int) -> dict[str, Any] | None:
        """The arguments of a call, chosen and computed from the results so far; None if these do not suffice."""
        try:
            return resolve_arguments(self.calls[index].arguments, self.results)
        except LookupError:
            return None

    # What to do next.

    def speak(self) -> AssistantMessage:
        text = self.special()
        return say(text) if text else self.usual()

    def special(self) -> str:
        """What its kind of request has the agent say now; "" if it goes on with its calls or reports."""
        wishes, task = self.wishes, self.task
        match task.kind:
            case "incomplete" | "ambiguous" | "withdrawn" if not wishes.complete:
                if wishes.withdrawn:
                    return self.leave()
                return "" if self.due() else self.ask(self._candidates())
            case "changed" if not wishes.complete and not wishes.first_complete:
                return self.clarify(hint(task.subgoals[0], wishes.latest))
            case "late_tool" | "no_tool" if wishes.complete and self._lacks_tools():
                return self.lack(task.subgoals[0])
            case "irrelevant":
                return self.off_topic(task.subgoals[0])
            case "not_found" if 0 in self.results:
                return self.nothing_found()
            case "forbidden" if wishes.complete and len(self.results) == len(self.calls):
                return self.refuse()
        return ""

    def usual(self) -> AssistantMessage:
        due = self.due()
        if due:
            question = self.question(due) or self._consent(due[0])
            return say(question) if question else self.act(due)
        missing = next((text for goal in self.wishes.open if (text := hint(goal, self.wishes.latest))), "")
        if missing and not self.fresh:
            return say(self.clarify(missing))
        return say(self.report(self.fresh or sorted(self.results)))

    def due(self) -> list[int]:
        """The calls that are wanted and not made yet."""
        return [index for index in range(len(self.calls)) if index not in self.results and self._is_wanted(index)]

    def _is_wanted(self, index: int) -> bool:
        wishes, last = self.wishes, len(self.calls) - 1
        if self.task.kind == "changed":
            return index != last - 1 if wishes.complete else index != last
        if self.task.kind == "ambiguous" and not wishes.complete:
            return index < self._choosing()
        return self.calls[index].subgoal in wishes.requested

    def _choosing(self) -> int:
        """The index of the first call that depends on what the user did not say; those before it find the
        candidates."""
        for index, call in enumerate(self.calls):
            used = map(placeholder, (*call.arguments.values(), *call.tell))
            if any(parsed and parsed.value in self.task.withheld for parsed in used):
                return index
        return 0

    def _candidates(self) -> int:
        """How many records fit what the user has said; 0 if none were looked up."""
        found = [len(rows_of(self.results[index])) for index in sorted(self.results)]
        return found[-1] if found else 0

    def _lacks_tools(self) -> bool:
        return not {call.tool for call in self.task.plan} <= self.tools.keys()

    # The policy.

    def governing(self, form: type[ConfirmRule] | type[IdentityRule], index: int) -> bool:
        """Whether the policy has a rule of this form for a call."""
        rules = [rule for rule in self.policy.rules if isinstance(rule, form)] if self.policy else []
        call, arguments = self.calls[index], self.arguments(index) or {}
        return any(call.tool in rule.tools and governs(rule.when, arguments, "") for rule in rules)

    def _consent(self, index: int) -> str:
        """What the agent asks because the policy wants the user's yes to this call; "" if it has it, or needs none."""
        if not self.governing(ConfirmRule, index):
            return ""
        question = self.confirm(self.words(index))
        return "" if self.agreed(question) else question

    def agreed(self, question: str) -> bool:
        """Whether this is the last thing that the agent said, and the user's reply to it is yes. The same words, asked
        earlier about another call, do not count."""
        said = [n for n, m in enumerate(self.messages) if isinstance(m, AssistantMessage) and not m.tool_calls]
        if not said or self.messages[said[-1]].content != question:
            return False
        replies = [m.content for m in self.messages[said[-1] :] if isinstance(m, UserMessage)]
        return any(re.search(r"\byes\b", reply, re.I) and WITHDRAWAL not in reply for reply in replies)

    def words(self, index: int) -> str:
        """The user's words for what a call does."""
        is_first = self.task.kind == "changed" and index == len(self.calls) - 2
        return self.wishes.first if is_first else self.task.subgoals[self.calls[index].subgoal]

    # Calls and values.

    def act(self, due: Sequence[int]) -> AssistantMessage:
        return self.call([due[0]])

    def call(self, indices: Sequence[int], content: str = "") -> AssistantMessage:
        made = [ToolCall.make(f"k{index}", self.calls[index].tool, self.arguments(index) or {}) for index in indices]
        return AssistantMessage(content=content, tool_calls=tuple(made))

    def values(self, indices: Sequence[int]) -> list[tuple[str, Any]]:
        """(field, value) of everything that these calls give to tell; answers that are computed have no field."""
        found: list[tuple[str, Any]] = []
        for index in indices:
            for name in self.calls[index].tell:
                if placeholder(name):
                    found.append(("answer", resolve(name, self.results)))
                else:
                    rows = rows_of(self.results[index])
                    found += [(name, row[name]) for row in rows if isinstance(row, dict) and name in row]
        return found

    # What it says.

    def question(self, due: Sequence[int]) -> str:
        """What the agent asks before it makes the due calls, though nothing is missing; "" for nothing."""
        return ""

    def report(self, indices: Sequence[int]) -> str:
        return "; ".join(str(value) for _, value in self.values(indices)) or "Done."

    def clarify(self, hint: str) -> str:
        """Asks for the new value that a request lacks."""
        return "To what?"

    def ask(self, candidates: int) -> str:
        """Asks for what is withheld; `candidates` records fit, 0 where the choice is not among records."""
        return f"Which of the {candidates}?" if candidates else "To what?"

    def confirm(self, wish: str) -> str:
        """Asks for the user's yes, which the policy demands."""
        return f"Confirm: {wish}?"

    def leave(self) -> str:
        """Accepts that the user takes a wish back."""
        return "OK."

    def lack(self, wish: str) -> str:
        """Says that no tool does this."""
        return "I have no tool for that."

    def off_topic(self, wish: str) -> str:
        """Says that a wish has nothing to do with the service."""
        return "That is outside what I do here."

    def nothing_found(self) -> str:
        """Says that the record does not exist."""
        return "No such record."

    def refuse(self) -> str:
        """Says that the policy forbids it, and why."""
        return f"Not allowed: {self.reason()}"

    def reason(self) -> str:
        """The rule, and the values that show that it applies."""
        rule = self.policy.rule(self.task.rule_id).text if self.policy and self.task.rule_id else ""
        return f"{rule} ({', '.join(self.task.told_values)})" if self.task.told_values else rule


AgentClass = Callable[[Task, Sequence[Message], Sequence[ToolSpec], Policy | None], KnownAgent]


def say(text: str) -> AssistantMessage:
    return AssistantMessage(content=text)


def changes(tool: str) -> bool:
    """Whether a tool changes something, by its name."""
    return not re.match(r"(get|find|search|list|top|total|count)_", tool)
