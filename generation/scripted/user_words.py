"""How the stand-in's user finds requests in texts, by the words of their subgoals."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from generation.scripted.wishes import WITHDRAWAL, without_value
from generation.utterances.answers import asks, failed, reports


def is_unclear(answer: str) -> bool:
    """Whether no rule knows what the answer is: where nothing is done yet, it may be a question."""
    return not (asks(answer) or failed(answer) or reports(answer))


def run(texts: Sequence[str], fits: Callable[[str], bool]) -> int:
    """The number of latest texts in a row that fit."""
    return next((number for number, text in enumerate(reversed(texts)) if not fits(text)), len(texts))


def wants(goal: str, messages: Sequence[str]) -> bool:
    """Whether the last message with exactly these words requests them: "delete locker 13" does not request "delete
    locker 1"."""
    exact = re.compile(rf"(?<!\w){re.escape(goal)}(?!\w)", re.IGNORECASE)
    latest = [text for text in messages if exact.search(text)][-1:]
    return bool(latest) and WITHDRAWAL.format(goal) not in latest[0]


def hinted(goal: str, messages: Sequence[str]) -> bool:
    """Whether a message names the subgoal without its new value, or with another one."""
    hint = without_value(goal)
    value = goal[len(hint) :]
    return bool(hint) and any(
        re.search(rf"(?<!\w){re.escape(hint)}(?!\w)(?!{re.escape(value)}(?!\w))", text, re.IGNORECASE)
        for text in messages
    )


def named(text: str, goals: Sequence[str]) -> list[str]:
    """Those of the subgoals that the text names, with or without their new value."""
    return [goal for goal in goals if wants(goal, [text]) or hinted(goal, [text])]


def latest_news(messages: Sequence[str], goals: Sequence[str]) -> int:
    """The index of the latest message that names a subgoal which those before it do not name; 0 if none does."""
    for index in range(len(messages) - 1, 0, -1):
        if set(named(messages[index], goals)) - set(named("\n".join(messages[:index]), goals)):
            return index
    return 0


def capital(text: str) -> str:
    """The text with a capital at its beginning."""
    return f"{text[0].upper()}{text[1:]}"
