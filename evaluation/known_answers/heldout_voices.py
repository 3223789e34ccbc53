"""Four more agents that solve every held-out task, each in its own words."""

from __future__ import annotations

from collections.abc import Sequence

from core.messages import AssistantMessage, Message
from core.policy import ConfirmRule, IdentityRule
from evaluation.known_answers.heldout_agents import AgentClass, KnownAgent, changes
from evaluation.known_answers.heldout_wishes import Wishes


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

    def ask(self, candidates: int) -> str:
        if candidates:
            return f"Great news, there are even {candidates} of those! Could you help me to pick the right one, please?"
        return "I'd love to! No worries, there is only one little thing that I still need from you: the new value."

    def confirm(self, wish: str) -> str:
        return f"Lovely. Before I touch anything, just to be sure: would you like me to {wish}?"

    def leave(self) -> str:
        return self._wrapped("No problem at all, I have left everything exactly as it was.")

    def lack(self, wish: str) -> str:
        return self._wrapped(f"I'd really love to {wish}, but that's not something I am able to do at the moment.")

    def off_topic(self, wish: str) -> str:
        return self._wrapped(
            f"What a nice idea! I wish I could help you to {wish}, but I only look after this service."
        )

    def nothing_found(self) -> str:
        return self._wrapped("I looked everywhere, twice even, but there doesn't seem to be anything under that name.")

    def refuse(self) -> str:
        told = f" {self._told(sorted(self.results))}" if self.values(sorted(self.results)) else ""
        return self._wrapped(f"I'd be glad to help, but my hands are tied, I'm afraid. {self.reason()}{told}")

    def report(self, indices: Sequence[int]) -> str:
        return self._wrapped(self._told(indices) or self._DONE[len(self.texts) % 3])

    def _told(self, indices: Sequence[int]) -> str:
        told = [
            f"the {name.replace('_', ' ')} is **{value:,}**"
            if isinstance(value, int | float)
            else f"the {name} is {value}"
            for name, value in self.values(indices)
        ]
        return f"I found that {', and '.join(told)}." if told else ""

    def _wrapped(self, body: str) -> str:
        number = len(self.texts)
        return f"{self._OPENINGS[number % 4]} {body} {self._CLOSINGS[number % 3]}"


class Confirming(KnownAgent):
    """Has the user confirm every call that changes something, each time in other words."""

    CONFIRM: tuple[str, ...] = (
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
        if not changes(self.calls[due[0]].tool) or self.governing(ConfirmRule, due[0]) or self._confirmed(due[0]):
            return ""
        found = self.report(self.fresh) if self.values(self.fresh) else ""
        return f"{found} {self._request(due[0])}".strip()

    def _request(self, index: int) -> str:
        place = len(self.task.goal) + index
        return self.CONFIRM[place % len(self.CONFIRM)].format(self.words(index))

    def _confirmed(self, index: int) -> bool:
        """Whether the user has not taken the wish back when last asked."""
        asked = [n for n, m in enumerate(self.messages) if self._asks(m, index)]
        replies = [m.content for m in self.messages[asked[-1] :] if m.role == "user"][:1] if asked else []
        return bool(replies) and not Wishes(self.task, self.messages[: asked[-1] + 2]).withdrawn

    def _asks(self, message: Message, index: int) -> bool:
        return isinstance(message, AssistantMessage) and message.content.endswith(self._request(index))

    def clarify(self, hint: str) -> str:
        return f"Understood, you want to {hint}; what to, please"

    def ask(self, candidates: int) -> str:
        if candidates:
            return f"I have {candidates} records in front of me. Please confirm which one you mean."
        return "Please tell me the value, so that I can repeat it to you before I enter it."

    def confirm(self, wish: str) -> str:
        return self.CONFIRM[len(self.task.goal) % len(self.CONFIRM)].format(wish)

    def leave(self) -> str:
        return "Confirmed: nothing has been done."

    def lack(self, wish: str) -> str:
        return f"I must tell you that I cannot {wish}: there is no such function here."

    def off_topic(self, wish: str) -> str:
        return "I can confirm only what concerns this service; this request does not."

    def nothing_found(self) -> str:
        return "I confirm that a search for it gave no result."

    def refuse(self) -> str:
        told = f" {self.report(sorted(self.results))}" if self.values(sorted(self.results)) else ""
        return f"This has to be refused under our rules: {self.reason()}{told}"

    def report(self, indices: Sequence[int]) -> str:
        told = [f"{name}: {value}" for name, value in self.values(indices)]
        return f"Result: {', '.join(told)}." if told else "As confirmed by you, this has been carried out."


class Inquiring(KnownAgent):
    """Asks back for details of every request before it does anything."""

    QUESTIONS: tuple[str, ...] = (
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
        if any(subgoal in Wishes(self.task, self.messages[:n]).requested for n in asked):
            return ""
        if not self.wishes.complete and len(self.task.subgoals) == 1 and asked:  # of a wish that is not the last word
            return ""
        found = self.report(self.fresh) if self.values(self.fresh) else ""
        place = len(self.task.goal) + len(asked)
        return f"{found} {self.QUESTIONS[place % len(self.QUESTIONS)]}".strip()

    def _is_question(self, message: AssistantMessage) -> bool:
        return message.content.endswith(self.QUESTIONS)

    def clarify(self, hint: str) -> str:
        return "What should it be instead"

    def ask(self, candidates: int) -> str:
        if candidates:
            return f"I see {candidates} entries there. What distinguishes yours from the rest"
        return "And which value shall I put in its place"

    def confirm(self, wish: str) -> str:
        return f"So you want me to {wish}, is that correct?"

    def leave(self) -> str:
        return "Thank you, then it stays the way it is."

    def lack(self, wish: str) -> str:
        return "Thank you for the details. This is beyond my possibilities."

    def off_topic(self, wish: str) -> str:
        return "Thank you for asking. Such matters are not dealt with here."

    def nothing_found(self) -> str:
        return "Thank you. The search came back empty: nothing is registered under it."

    def refuse(self) -> str:
        told = f" {self.report(sorted(self.results))}" if self.values(sorted(self.results)) else ""
        return f"Thank you. I have to decline this request, because our rules say: {self.reason()}{told}"

    def report(self, indices: Sequence[int]) -> str:
        told = [f"{value} ({name})" for name, value in self.values(indices)]
        return f"Thank you. The answer: {' / '.join(told)}" if told else "Thank you, it is in the system now."


class Parallel(KnownAgent):
    """Makes all calls of the requests so far that need no further result in one message, and answers with a table."""

    def act(self, due: Sequence[int]) -> AssistantMessage:
        ready = [index for index in due if self.arguments(index) is not None]
        first = ready[0]
        held_back = [i for i in ready[1:] if self.governing(ConfirmRule, i) or self.governing(IdentityRule, i)]
        return self.call([index for index in ready if index < min(held_back, default=len(self.calls))] or [first])

    def clarify(self, hint: str) -> str:
        return "I couldn't do that yet: the new value is missing."

    def ask(self, candidates: int) -> str:
        if candidates:
            return f"| candidates | {candidates} |\n|---|---|\n| needed | which one? |"
        return "| field | value |\n|---|---|\n| new value | please specify |"

    def confirm(self, wish: str) -> str:
        return f"| planned | {wish} |\n|---|---|\n\nProceed (yes/no)?"

    def leave(self) -> str:
        return "| status | unchanged |"

    def lack(self, wish: str) -> str:
        return f"| request | {wish} |\n|---|---|\n| status | not possible: no matching tool |"

    def off_topic(self, wish: str) -> str:
        return "| status | not part of this service |"

    def nothing_found(self) -> str:
        return "| rows found |\n|---|\n| none |"

    def refuse(self) -> str:
        told = [f"| {name} | {value} |" for name, value in self.values(sorted(self.results))]
        return "\n".join(["| status | rejected, not permitted |", "|---|---|", f"| rule | {self.reason()} |", *told])

    def report(self, indices: Sequence[int]) -> str:
        told = [f"| {name} | {value} |" for name, value in self.values(indices)]
        return "\n".join(["| field | value |", "|---|---|", *told]) if told else "| status | ok |"


CORRECT: dict[str, AgentClass] = {
    "terse": KnownAgent,
    "chatty": Chatty,
    "confirming": Confirming,
    "asking back": Inquiring,
    "parallel calls": Parallel,
}
