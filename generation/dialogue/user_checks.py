"""What a simulated user may not say: what it has said before, what only an assistant says, and its instructions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from core.typography import folded_words, typed

_SHORT = 5
"""Words of a message that may be said again, or stand in the instructions: "Yes, please go ahead."."""

_GREETING = 2
"""Words of a message that may equal the assistant's last answer: "Thank you!"."""

_SENTENCE = 12
"""Words of a sentence of the assistant's that a user may say after it: "Book HAT123 to Rome on Friday, please."."""

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_CLAUSE_END = re.compile(r"(?<=[.!?:])\s+")
_INTERJECTIONS = (
    r"(?:(?:hi|hello|hey|sure|certainly|of course|absolutely|great|ok|okay|thanks|thank you)(?: there)?\W+)*"
)
_PHRASES = (
    r"how (?:can|may|could) i (?:help|assist) you",
    r"how (?:can|may|could) i (?:help|assist)(?: today)?\s*\?",
    r"what (?:can|may|could) i (?:do for|help) you",
    r"what would you like (?:to know|me to (?:do|help))",
    r"(?:is there )?anything else (?:that )?i (?:can|could) (?:help|assist|do)",
    r"i(?:'d| would|'ll| will|'m| am) (?:be )?(?:happy|glad) to (?:help|assist)",
    r"i(?:'m| am) here to (?:help|assist)(?! (?:my|our|his|her|their|an?|the|him|them)\b)",
    r"i(?:'ll| will| can| could) (?:help|assist) (?:you|with)",
    r"i(?:'m| am) sorry,? (?:but )?i (?:can't|cannot|can not) (?:help|assist)",
    r"as an? (?:ai|virtual) assistant",
    r"the assistant (?:can|will|is|has|says|found)",
)
_ASSISTANT = re.compile(rf"(?:^|[.!?:;,\n])\s*{_INTERJECTIONS}({'|'.join(_PHRASES)})\b", re.I)


def assistant_phrase(message: str, heard: str = "") -> str | None:
    """What only an assistant says in a user's message, as it stands there; None if there is nothing.

    Models that take themselves for the assistant repeat its last answer, `heard`, or a long sentence of it, or give
    themselves away by a few phrases. Only those that a customer has no use for are listed, and only at the start of a
    clause.

    >>> assistant_phrase("Sure! What would you like to know about Dr. Reed?")
    'What would you like to know'
    >>> assistant_phrase("Can you help me? I would be happy to come on Friday.")
    """
    words = folded_words(message)
    if len(words.split()) > _GREETING and words == folded_words(heard):
        return message
    spoken = {folded_words(sentence) for sentence in _SENTENCE_END.split(heard)}
    for sentence in _SENTENCE_END.split(message):
        words = folded_words(sentence)
        if len(words.split()) > _SENTENCE and words in spoken:
            return sentence
    match = _ASSISTANT.search(typed(message))
    return match[1].strip() if match else None


def recites(message: str, instructions: str) -> bool:
    """Whether a clause of a message is a piece of the user's instructions, which small models take for their line.

    >>> recites("Open by asking for help, in your own words!", "- Open by asking for help, in your own words; never …")
    True
    >>> recites("In your own words!", "- Open by asking for help, in your own words; never …")
    False
    >>> recites("You have a further goal now: book a room.", "You have a further goal now: …")
    True
    """
    clauses = [folded_words(clause) for clause in _CLAUSE_END.split(message)]
    long = [words for words in clauses if len(words.split()) > _SHORT]
    if not long:
        return False
    told = folded_words(instructions)
    return any(words in told for words in long)


def repeated_by(message: str, heard: str, said: Sequence[tuple[str, str]]) -> Literal["user", "agent"] | None:
    """Who is to blame if a user says again what it `said` in this task; None if it does not. `said` are pairs of (what
    it had heard, what it said to that), all as `folded_words`.

    The same message to the same answer as last time is a loop, and the assistant repeated itself first. Otherwise the
    user did, unless the message is short.

    >>> said = [(folded_words("Delete room 5?"), folded_words("Yes, please do that."))]
    >>> repeated_by("Yes, please do that!", "And room 6?", said)
    >>> repeated_by("Yes, please do that!", "Delete room 5?", said)
    'agent'
    >>> repeated_by("And what would you like to ask me?", "Hello!", [("", "and what would you like to ask me")])
    'user'
    """
    words, answered = folded_words(message), folded_words(heard)
    if said and said[-1] == (answered, words):
        return "agent"
    return "user" if len(words.split()) > _SHORT and any(words == earlier for _, earlier in said) else None
