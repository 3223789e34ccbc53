"""The clock of a dialogue: the one date and time that agent, user, task writer, tool simulator and judge go by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random

from core.dialogue import Dialogue
from core.messages import Message, SystemMessage, UserMessage

_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec)[a-z]*\.?"
_DATE = rf"\d{{4}}-\d\d?-\d\d?|\d\d?[/.]\d\d?[/.]\d{{2,4}}|{_MONTH} \d\d?(?:st|nd|rd|th)?(?:,? \d{{4}})?"
_DATE += rf"|(?:the )?\d\d?(?:st|nd|rd|th)?(?: of)? {_MONTH}(?:,? \d{{4}})?"
_DAY = r"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_CLOCK = r"\d\d?:\d\d(?::\d\d)?(?: ?[ap]\.?m\.?)?|\d\d? ?[ap]\.?m\.?|noon|midnight"
_POINT = rf"(?:{_DATE}|{_DAY}|{_CLOCK})(?!(?!T\d)\w)"
_INTRODUCTION = (
    r"(?:today is|today's date(?: is|:)|today:|it(?: is|'s) (?:now|currently)|(?:the )?time (?:now )?is(?: now)?|now is"
)
_INTRODUCTION += r"|(?:the )?current (?:date|time|datetime|date and time)(?: is|:)|the date (?:today )?is)"
_STATED = re.compile(
    rf"\b{_INTRODUCTION} ?(?:now |currently )?({_POINT}(?:[ ,T]+(?:at |on |and )?{_POINT})*)", re.IGNORECASE
)
_FIRST = datetime(2023, 1, 1)
_DAYS = 4 * 365
_DAY_ALONE = re.compile(r"^\d{4}-\d\d-\d\d$")
_DAYS_FROM_DATE = 14


def dialogue_time(dialogue: Dialogue, domain_time: str = "") -> str:
    """The one date and time of a dialogue, the same however often it is resumed: as its system message states it, else
    as it was generated with, else as the user of its imported messages last stated it, else one that suits its
    domain."""
    system = [message for message in dialogue.messages if isinstance(message, SystemMessage)]
    users = [message for message in dialogue.messages[: dialogue.given] if isinstance(message, UserMessage)]
    stated = stated_time(system) or dialogue.provenance.now or stated_time(users)
    return stated or drawn_time(dialogue.dialogue_id, domain_time)


def stated_time(messages: Sequence[Message]) -> str:
    """The current date or time as one of the messages last stated it, quoted; empty if none did."""
    texts = [message.content.replace("’", "'") for message in messages]
    times = [match[1] for text in texts for match in _STATED.finditer(text)]
    return times[-1].strip(" ,") if times else ""


def drawn_time(dialogue_id: str, domain_time: str = "") -> str:
    """A random day and daytime hour such as "Tuesday 2025-03-04 10:15", always the same for one dialogue. If the domain
    names a date, within two weeks from it; if it names a time as well, exactly that."""
    rng = Random(f"{dialogue_id}/now")
    first, days = _FIRST, _DAYS
    if domain_time:
        if not _DAY_ALONE.match(domain_time):
            return domain_time
        first, days = datetime.fromisoformat(domain_time), _DAYS_FROM_DATE
    moment = first + timedelta(days=rng.randrange(days), minutes=rng.randrange(8 * 60, 20 * 60))
    return moment.strftime("%A %Y-%m-%d %H:%M")
