"""What the stand-in's agent understands of user messages: requests in the words of their subgoals, complete, without a
value or withdrawn, and confirmations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from core.messages import AssistantMessage, Message, UserMessage
from generation.scripted.wishes import without_value

CONFIRM, CLARIFY, WHICH = "Do you confirm?", "What should the new value be?", "Which of them do you mean?"

# Directly before a request these withdraw it; further away they refer to something else.
_WITHDRAWS = re.compile(
    r"\b(forget|never mind|skip|drop|scrap|do not|don't|no longer want to|not want(?: you)? to)"
    r"(?: about| that| to| the| wish| idea| part| i wanted| you| want)*[\s:,\"']*$"
)
_AGAIN = re.compile(r"\b(again|once more|another look|retry)\b")


class UserIntent:
    """The subgoals (by number) that the user has `requested` so far, and those requested with their new value
    `missing`.

    The last mention of a subgoal counts. `waives_confirmation`: the user does not want to be asked before changes.
    """

    def __init__(self, subgoals: Sequence[str], messages: Iterable[Message]) -> None:
        self.messages = tuple(messages)
        self._texts = [message.content.casefold() for message in self.messages if isinstance(message, UserMessage)]
        self.waives_confirmation = any("no need to ask" in text for text in self._texts)
        self.requested = {number for number, goal in enumerate(subgoals) if self.wants(goal)}
        self.missing = {
            number
            for number, goal in enumerate(subgoals)
            if number not in self.requested and without_value(goal) and self.wants(without_value(goal))
        }

    def in_last_message(self, goal: str) -> bool:
        return bool(self._texts) and goal.casefold() in self._texts[-1]

    def insists(self, goal: str, position: int) -> bool:
        """Whether the user requests this again after message `position`."""
        later = [m.content.casefold() for m in self.messages[position:] if isinstance(m, UserMessage)]
        return any(goal.casefold() in text or _AGAIN.search(text) for text in later)

    def confirmed(self, goal: str) -> bool:
        """Whether the user's next message after a request to confirm this subgoal was a yes."""
        pending = False
        for message in self.messages:
            if isinstance(message, AssistantMessage):
                pending = message.content.endswith(confirmation(goal))
            elif pending and isinstance(message, UserMessage) and message.content.lower().startswith("yes"):
                return True
        return False

    def wants(self, goal: str) -> bool:
        """Whether the last message that names this request does not take it back."""
        phrase = goal.casefold()
        latest = next((text for text in reversed(self._texts) if phrase in text), None)
        return latest is not None and not _WITHDRAWS.search(latest[: latest.rindex(phrase)])


def confirmation(goal: str) -> str:
    """The question before something is deleted."""
    return f"This will {goal}. {CONFIRM}"


def is_question(message: AssistantMessage) -> bool:
    """Whether the assistant only asks the user something and reports nothing."""
    asks = message.content.endswith((CONFIRM, CLARIFY, WHICH))
    return asks and message.content.startswith(("This will ", "Happy to ", "There are "))
