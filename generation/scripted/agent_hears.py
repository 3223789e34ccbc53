"""What the stand-in's agent understands of a user: wishes in the words of their subgoals, taken back or half said, and a yes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from core.messages import AssistantMessage, Message, UserMessage

CONFIRM, CLARIFY = "Do you confirm?", "What should the new value be?"

# Said right before a wish, these take it back; further off they belong to something else.
_TAKES_BACK = re.compile(
    r"\b(forget|never mind|skip|drop|scrap|do not|don't|no longer want to|not want(?: you)? to)"
    r"(?: about| that| to| the| wish| idea| part| i wanted| you| want)*[\s:,\"']*$"
)
_AGAIN = re.compile(r"\b(again|once more|another look|retry)\b")


class UserIntent:
    """`asked` are the subgoals that the user wants done by now, `vague` those asked for without their new value. Of what was said
    of a subgoal more than once the last counts."""

    def __init__(self, subgoals: Sequence[str], messages: Iterable[Message]) -> None:
        self.messages = tuple(messages)
        self._said = [message.content.casefold() for message in self.messages if isinstance(message, UserMessage)]
        self.trusting = any("no need to ask" in text for text in self._said)
        self.asked = {number for number, goal in enumerate(subgoals) if self._wanted(goal)}
        self.vague = {
            number
            for number, goal in enumerate(subgoals)
            if number not in self.asked and vaguely(goal) and self._wanted(vaguely(goal))
        }

    def in_last_message(self, goal: str) -> bool:
        return bool(self._said) and goal.casefold() in self._said[-1]

    def insists(self, goal: str, place: int) -> bool:
        """Whether after message `place` the user asks for this once more."""
        later = [m.content.casefold() for m in self.messages[place:] if isinstance(m, UserMessage)]
        return any(goal.casefold() in text or _AGAIN.search(text) for text in later)

    def confirmed(self, what: str) -> bool:
        """Whether a question for confirmation of `what` was answered with yes, at once."""
        asked = False
        for message in self.messages:
            if isinstance(message, AssistantMessage):
                asked = message.content.endswith(confirmation(what))
            elif asked and isinstance(message, UserMessage) and message.content.lower().startswith("yes"):
                return True
        return False

    def _wanted(self, goal: str) -> bool:
        phrase = goal.casefold()
        latest = next((text for text in reversed(self._said) if phrase in text), None)
        return latest is not None and not _TAKES_BACK.search(latest[: latest.rindex(phrase)])


def vaguely(goal: str) -> str:
    """The subgoal without its new value ('change the city of customer 3'), or '' where nothing can be left out."""
    return goal.rsplit(" to ", 1)[0] if goal.startswith("change ") and " to " in goal else ""


def confirmation(what: str) -> str:
    """The question that is asked before something is taken away."""
    return f"This will {what}. {CONFIRM}"


def is_question(message: AssistantMessage) -> bool:
    """Whether the assistant only asked something back, and has reported nothing."""
    return message.content.endswith((CONFIRM, CLARIFY)) and message.content.startswith(("This will ", "Happy to "))
