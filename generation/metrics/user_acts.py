"""What a user's message does, by rules on its English words: how many requests it makes, and whether it acknowledges,
corrects or asks.

A request is a clause that wants something done or told:

- it starts with an auxiliary or a question word ("can you …", "what is …"),
- it is an imperative with a verb that people use towards a service ("book …", "please find …"), also after "and",
- it states a wish ("I want to …", "I'm looking for …"),
- or it is any other sentence with a question mark.

"I want to change the date and cancel the hotel" makes two requests. The rules count generated and human messages alike,
so only errors that are more frequent in one of both distort a comparison. In other languages only question marks are
seen.
"""

from __future__ import annotations

import re

from core.messages import Frozen
from core.typography import fold


class UserActs(Frozen):
    """What one message does."""

    words: int
    requests: int
    acknowledgement: bool
    correction: bool
    question: bool


_SENTENCE_END = re.compile(
    r"(?:(?<=[.!?;])(?<!\b[DMS][rst]\.)(?<!\bMrs\.)(?<!\bProf\.)(?<!\bNo\.)(?<!\be\.g\.)(?<!\bi\.e\.))\s+|\n+"
)
"""A full stop ends a sentence if a space follows, but not after a title or an abbreviation: "Dr. Lee"."""
_CLAUSE = re.compile(r",?\s+(?:and(?:\s+(?:then|also))?|then|but|or)\s+|,\s+(?:also|then)?\s*")
_OPENING = (
    r"(?:(?:please|kindly|also|then|now|next|first|finally|and|but|so|or|hi|hello|hey|ok|okay|great|thanks|thank you|yes"
    r"|yeah|sure|well|actually|no|wait|alright|all right|perfect|good|just|instead|there)\b[\s,:-]*)*"
)
_AUXILIARY = (
    r"(?:(?:can|could|would|will|may|might|shall|should|do|does|did|is|are|was|were|has|have)(?:n't)?\s+(?:you|i|we|it"
    r"|they|there|that|this|these|those|he|she|the|my|your|any|one|someone)|what(?:'s)?|which|who|whom|whose|when"
    r"(?:'s| (?:is|are|was|were|do|does|did|can|could|will|would|should))|where(?:'s)?|why|how(?:'s)?"
    r"|any chance|mind if)"
)
_VERBS = (
    "add|apply|arrange|assign|book|bring|buy|call|cancel|change|charge|check|close|compare|compute|confirm|contact|"
    "convert|correct|count|create|deactivate|delete|display|edit|explain|extend|fetch|file|find|fix|get|give|help|"
    "increase|insert|issue|let|list|locate|look|lower|make|mark|modify|move|open|order|pause|pay|place|play|postpone|"
    "provide|purchase|put|raise|read|recommend|record|reduce|refund|register|reissue|remind|remove|rename|rent|replace|"
    "reschedule|reserve|reset|resume|retrieve|return|revert|save|schedule|search|see|sell|send|set|share|show|sign|"
    "split|start|stop|submit|suggest|switch|tell|track|try|transfer|turn|undo|update|upgrade|use|verify|withdraw|write"
)
_WISH = (
    r"(?:i|we)(?:'d|'m| would| am| will|'ll| do| still| also| really| just)*\s+(?:(?:want|need|like|love|wish|prefer"
    r"|require)\b|(?:looking|searching|trying|hoping|planning|thinking|in need)\b|have to\b)|(?:i|we)\s+was\s+wondering\b"
)
_REQUEST = re.compile(rf"{_OPENING}(?:{_AUXILIARY}|(?:{_VERBS})|{_WISH})\b", re.IGNORECASE)
_QUESTION = re.compile(rf"{_OPENING}{_AUXILIARY}\b", re.IGNORECASE)
_WISHED = re.compile(_WISH, re.IGNORECASE)
_IMPERATIVE = re.compile(rf"{_OPENING}(?:to\s+)?(?:{_VERBS})\b", re.IGNORECASE)
_FAREWELL = re.compile(
    r"\bi\s+(?:do not|don't|won't)\s+(?:want|need)|\bnothing (?:else|more)|\ball (?:that )?i (?:want|need)"
)
"""Wishes for nothing."""

_PRAISE = (
    r"ok|okay|great|perfect|alright|all right|awesome|wonderful|excellent|cool|nice|lovely|fantastic|good|super|fine"
    r"|amazing"
)
_ACKNOWLEDGEMENT = re.compile(
    r"\b(?:thanks|thank you|thx|many thanks|cheers|got it|i see|i understand|understood|appreciate|works for me"
    r"|sounds \w+|looks good|that(?:'s| is| will be| would be) (?:all right|alright|great|perfect|good|fine|wonderful"
    rf"|nice|correct|right|excellent))\b|(?:^|[.!?;]\s+|\b(?:yes|yeah|sure|no),?\s+)(?:{_PRAISE})(?=\s*(?:[,.!?;-]|$)|\s+(?:thanks|thank))",
    re.IGNORECASE,
)
_CORRECTION = re.compile(
    r"\bi (?:mean|meant)\b|\bactually\b|(?:^|[.!?;,]\s+)(?:oh,?\s+)?wait\b(?!\s+(?:for|time|until))|\binstead\b"
    r"|\bi(?:'d| would) rather\b|\bmake (?:that|it)\b(?! (?:so|sure))|\bscratch that\b|\bmy (?:mistake|bad)\b"
    r"|\bon second thoughts?\b|\bchange(?:d)? my mind\b|\b(?:that's|that is|it's|it is) (?:not|wrong|incorrect)\b"
    r"|\bthat(?:'s| is)n't\b|\bnot (?:what i|the one|that one)\b|\bcorrection:|(?:^|[.!?;]\s+)no,? (?:i|it|not|the|my|on)\b"
    r"(?! (?:do not|don't|think|am|have|need|want|will|is fine)\b)",
    re.IGNORECASE,
)


def user_acts(text: str) -> UserActs:
    """The acts of one user message."""
    plain = fold(text)
    requests, asks = 0, "?" in plain
    for sentence in _SENTENCE_END.split(plain.strip()):
        requests += _requests(sentence) or "?" in sentence
        asks = asks or bool(_QUESTION.match(sentence))
    return UserActs(
        words=len(plain.split()),
        requests=requests,
        acknowledgement=_ACKNOWLEDGEMENT.search(plain) is not None,
        correction=_CORRECTION.search(plain) is not None,
        question=asks,
    )


def _requests(sentence: str) -> int:
    """The clauses of a sentence that request something. After a request, another verb in the imperative, also with
    "to" ("I want to book … and to cancel …"), is a further one."""
    count = 0
    for clause in _CLAUSE.split(sentence):
        if _FAREWELL.search(clause.casefold()):
            continue
        if _REQUEST.match(clause) or _WISHED.search(clause) or (count and _IMPERATIVE.match(clause)):
            count += 1
    return count
