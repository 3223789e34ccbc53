"""Dates and times as rules compare them: in ISO form, also within a text, with AM or PM, or with an offset from UTC."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from core.typography import fold

_TIME = r"(?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d))?(?:\.\d+)?(?:\s?(?P<half>[ap])\.?m\b\.?)?"
_CLOCK = re.compile(rf"^{_TIME}$", re.IGNORECASE)
_MOMENT = re.compile(
    rf"(?<!\d)(?P<day>\d{{4}}-\d\d-\d\d)(?:(?:T|,? (?:at )?){_TIME}(?:\s?(?P<offset>Z|UTC|[+-]\d\d:?\d\d)(?!\w))?)?",
    re.IGNORECASE,
)
_NOW = re.compile(r"^now(?: (?P<sign>[+-]) (?P<number>\d+) (?P<unit>hour|day)s?)?$")


def is_time(name: str) -> bool:
    """Whether a reference is to the dialogue's time: "now", "now + 2 days"."""
    return bool(_NOW.match(name))


def moment(value: Any) -> str | None:
    """A date "2025-03-04", a date and time "2025-03-04T10:15" or a time of day "10:15" (24 hours), as it is or within a
    text such as "Tuesday 2025-03-04 10:15 am"; an offset from UTC is left out. None for anything else."""
    text = fold(value).strip() if isinstance(value, str) else ""
    if match := _CLOCK.match(text):
        return _time_of_day(match)
    match = _MOMENT.search(text)
    if match is None:
        return None
    if not match["hour"]:
        return match["day"]
    time = _time_of_day(match)
    return time and f"{match['day']}T{time}"


def before(one: Any, other: Any) -> bool:
    """Whether a date, a time of day or both is earlier than another, as precisely as the coarser one; False where they
    cannot be compared. Offsets from UTC count where both have one."""
    first, second = _in_utc(one), _in_utc(other)
    if first is None or second is None:
        first, second = moment(one), moment(other)
    if first is None or second is None:
        return False
    if _is_clock(first) or _is_clock(second):
        first, second = (text if _is_clock(text) else text.partition("T")[2] for text in (first, second))
    length = min(len(first), len(second))
    return first[:length] < second[:length]


def time_of(name: str, now: str) -> str | None:
    """The moment that a reference to the time names; None if the dialogue's time `now` is not in ISO form."""
    match, known = _NOW.match(name), moment(now)
    if match is None or known is None or _is_clock(known):
        return None
    if match["sign"] is None:
        return known
    try:
        shift = timedelta(**{f"{match['unit']}s": int(match["sign"] + match["number"])})
        shifted = datetime.fromisoformat(known) + shift
    except (ValueError, OverflowError):
        return None
    return shifted.strftime("%Y-%m-%dT%H:%M" if "T" in known or match["unit"] == "hour" else "%Y-%m-%d")


def _is_clock(text: str) -> bool:
    return "-" not in text


def _time_of_day(match: re.Match[str]) -> str | None:
    """ "10:15" or "10:15:30"; None if there is no such time."""
    hour, half = int(match["hour"]), (match["half"] or "").lower()
    if half and not 1 <= hour <= 12:
        return None
    hour = hour % 12 + 12 * (half == "p") if half else hour
    if (hour, match["minute"]) > (24, "00") or int(match["minute"]) > 59:
        return None
    return ":".join([f"{hour:02d}", match["minute"], *([match["second"]] if match["second"] else [])])


def _in_utc(value: Any) -> str | None:
    """A date and time with an offset from UTC, in UTC; None for anything else."""
    text = fold(value).strip() if isinstance(value, str) else ""
    match, local = _MOMENT.search(text), moment(value)
    if match is None or local is None or not match["offset"]:
        return None
    offset = match["offset"].upper().replace(":", "")
    shift = (
        timedelta() if offset in ("Z", "UTC") else timedelta(hours=int(offset[:3]), minutes=int(offset[0] + offset[3:]))
    )
    with suppress(ValueError, OverflowError):
        utc = datetime.fromisoformat(local).replace(tzinfo=timezone(shift)).astimezone(UTC)
        return utc.strftime("%Y-%m-%dT%H:%M:%S" if match["second"] else "%Y-%m-%dT%H:%M")
    return None
