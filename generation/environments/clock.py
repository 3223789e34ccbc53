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


def dialogue_time(dialogue: Dialogue, domain_time: str = "") -> str:
    """The one date and time of a dialogue, the same however often it is resumed: as its system message states it, else
    as it was generated with, else as the user of its imported messages last stated it, else that of its domain, if its
    data need a certain one, else drawn."""
    system = [message for message in dialogue.messages if isinstance(message, SystemMessage)]
    users = [message for message in dialogue.messages[: dialogue.given] if isinstance(message, UserMessage)]
    stated = stated_time(system) or dialogue.provenance.now or stated_time(users)
    return stated or domain_time or drawn_time(dialogue.dialogue_id)


def stated_time(messages: Sequence[Message]) -> str:
    """The current date or time as one of the messages last stated it, quoted; empty if none did."""
    texts = [message.content.replace("’", "'") for message in messages]
    times = [match[1] for text in texts for match in _STATED.finditer(text)]
    return times[-1].strip(" ,") if times else ""


def drawn_time(dialogue_id: str) -> str:
    """A random day and daytime hour such as "Tuesday 2025-03-04 10:15", always the same for one dialogue."""
    rng = Random(f"{dialogue_id}/now")
    moment = _FIRST + timedelta(days=rng.randrange(_DAYS), minutes=rng.randrange(8 * 60, 20 * 60))
    return moment.strftime("%A %Y-%m-%d %H:%M")
