"""The current time in a dialogue (Stage 3, tool simulation): as stated in the conversation, otherwise drawn."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random

from core.messages import Message

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


def stated_time(messages: Sequence[Message]) -> str:
    """The date or time that a user or system message last stated as the current one, quoted; empty if none did."""
    texts = [message.content.replace("’", "'") for message in messages if message.role in ("user", "system")]
    times = [match[1] for text in texts for match in _STATED.finditer(text)]
    return times[-1].strip(" ,") if times else ""


def drawn_time(dialogue_id: str) -> str:
    """A random day and daytime hour such as "Tuesday 2025-03-04 10:15", always the same for one dialogue."""
    rng = Random(f"{dialogue_id}/now")
    moment = _FIRST + timedelta(days=rng.randrange(_DAYS), minutes=rng.randrange(8 * 60, 20 * 60))
    return moment.strftime("%A %Y-%m-%d %H:%M")
