"""The clauses of a message that may be instructions: those that begin with a verb, and questions that only a look
answers. Statements, offers and negations are left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from core.typography import fold
from generation.utterances.stems import stems
from generation.utterances.tool_verbs import QUESTION_VERBS, SYNONYMS, TURNS

_OPENERS = re.compile(
    r"^(?:(?:\d+[.)]|[-•*]|please|kindly|then|next|now|first|second|third|also|after that|afterwards|finally|again|and|so"
    r"|okay|ok|great|thanks|thank you|alright|step \d+"
    r"|(?:could|can|would|will) you(?! like)(?! want)|(?:i(?:'d| would) like|i need|i want|i(?:'ll| will) need|i ask) you to"
    r"|you (?:should|must|need to|have to|can|may|will need to|could)|(?:try|go ahead|make sure|be sure)(?: to| and)"
    r"|try|let's|let us|just|simply|quickly|once more|for me)[,:]?\s+)+"
)
_CONDITION = re.compile(r"^(?:if|when|in case|should)\b([^,]*),\s*(?:then\s+)?")
_LATE_CONDITION = re.compile(r"\b(?:if|in case|unless|when)\b")
_NEGATED = re.compile(
    r"^(?:do not|don't|never|no need|there is no need|you (?:do not|don't|need not)|have you|did you|were you)\b"
)
_PURPOSE = re.compile(r"\s(?:to|so|because|in order|as|since|while|before|until)\s|, which\s")
_OFFERS = re.compile(
    r"\b(?:do you want|would you like|shall i|may i|can i|should i|want me to|anything else|let me know)\b"
)


class Clause(NamedTuple):
    """A clause from its verb on, in lower case. `wanted`: the state into which it wants something switched, else empty.
    `words` are its stems up to the purpose that it states: "turn on roaming to use data" is about roaming."""

    verb: str
    wanted: Literal["on", "off", ""]
    text: str
    words: tuple[str, ...]


def clauses_of(message: str, verbs: frozenset[str]) -> Iterator[Clause]:
    """The clauses that begin with one of `verbs`, in order."""
    plain = (
        re.sub(r"[ \t*`#>\"“”]+", " ", fold(message).casefold()).replace("wi-fi", "wifi").replace("re-seat", "reseat")
    )
    some = "|".join(map(re.escape, sorted(verbs - QUESTION_VERBS)))
    further = rf"(?=(?:please |then |also )*(?:{some})\b)"
    for sentence in re.split(r"(?<=[.!?:;])\s+|\n+", plain):
        if _OFFERS.search(sentence):
            continue
        asked = sentence.rstrip().endswith("?")
        condition = _CONDITION.match(_OPENERS.sub("", sentence))
        parts = re.split(rf",?\s+(?:and|then|and then)\s+{further}|,\s+{further}", sentence)
        for part in [sentence] if condition else parts:
            yield from _clause(part.strip(), asked, verbs)


def _clause(text: str, asked: bool, verbs: frozenset[str]) -> Iterator[Clause]:
    body = _OPENERS.sub("", text)
    condition = _CONDITION.match(body)
    if condition:
        body = _OPENERS.sub("", body[condition.end() :])
    if not body or _NEGATED.match(body):
        return
    core = _PURPOSE.split(f"{body} ", maxsplit=1)[0]
    words = stems(core)
    verb = re.match(r"[a-z]+", body)
    if not verb or verb[0] not in verbs or (verb[0] in QUESTION_VERBS and not asked):
        return
    wanted = _wanted(verb[0], core)
    late = verb[0] not in SYNONYMS["check"] and _LATE_CONDITION.search(body)
    if (condition or late) and not wanted:
        return  # whether the condition holds, only the user's look-ups could tell
    if condition:
        words = (*words, *stems(condition[1]))
    yield Clause(verb[0], wanted, body, words)


def _wanted(verb: str, text: str) -> Literal["on", "off", ""]:
    if verb in TURNS["on"]:
        return "on"
    if verb in TURNS["off"]:
        return "off"
    states = re.findall(r"\b(on|off)\b", text)
    return states[0] if verb in (*TURNS[""], "toggle", "set") and len(set(states)) == 1 else ""
