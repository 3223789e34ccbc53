"""What a scripted user has asked for so far, as the known agents hear it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from core.dialogue import Task
from core.messages import Message, UserMessage

WITHDRAWAL = "forget that I wanted to "


class Wishes:
    """The wishes of a task, as far as `messages`: `requested` are the numbers of the subgoals that the user wants,
    `open` the other subgoals. Special requests have one subgoal; it is `complete` once the user has said all of it."""

    def __init__(self, task: Task, messages: Sequence[Message]) -> None:
        texts = [m.content for m in messages if isinstance(m, UserMessage)]
        self.latest = texts[-1] if texts else ""
        self.requested = [number for number, goal in enumerate(task.subgoals) if wants(goal, texts)]
        self.open = [goal for number, goal in enumerate(task.subgoals) if number not in self.requested]
        self.complete = 0 in self.requested
        self.withdrawn = WITHDRAWAL in self.latest
        self.first = task.first_wish.removeprefix("The user wants to ").removesuffix(".")
        """What the user wants before they change their mind."""
        self.first_complete = all(str(value) in "\n".join(texts) for value in task.first_arguments.values())


def wants(goal: str, texts: Sequence[str]) -> bool:
    """Whether the last of the texts that names the goal does not take it back."""
    named = [text for text in texts if re.search(rf"(?<!\w){re.escape(goal)}(?!\w)", text, re.I)]
    return bool(named) and f"{WITHDRAWAL}{goal}" not in named[-1]


def hint(goal: str, text: str) -> str:
    """The goal without its new value, if the text asks for that much; else ""."""
    start = goal.rpartition(" to ")[0] if goal.startswith("change ") else ""
    named = start and re.search(rf"(?<!\w){re.escape(start)}(?!\w)", text, re.I)
    return start if named and WITHDRAWAL not in text else ""
