"""Which errors a simulated tool may return: those that a real system could give for the call."""

from __future__ import annotations

import re
from typing import Any

from core.typography import folded_words

_NUMBER = re.compile(r"\d+")
EXAMPLE_ID = "4712"
EXAMPLE_ERROR = f"no booking with id {EXAMPLE_ID} exists"
"""The error of the prompt's example, which no real answer repeats."""


def error_problem(error: str, arguments: dict[str, Any], complaint: str = "", contradicted: bool = False) -> str:
    """Why an error cannot be what a call with these arguments returned; empty if it can.

    Models answer with a placeholder, copy the prompt's example and, after a complaint about their last answer, flee
    into an error, which may quote the complaint. `contradicted` means that an earlier answer contradicted what is
    known, although the call itself is fine.

    >>> error_problem("why", {"doctor_id": 4})
    'an error is a sentence that says what is wrong, as a real system would'
    >>> error_problem("book_id=51 exists", {"book_id": 51}, 'get_book: book_id=51 exists: {"title": "Emma"}')
    'nothing speaks against the call: return its result, with what was complained about corrected'
    >>> error_problem("no doctor with id 4 exists", {"doctor_id": 4})
    ''
    """
    words = folded_words(error)
    if len(words.split()) < 2 and words.isascii():
        return "an error is a sentence that says what is wrong, as a real system would"
    given = set(map(str, arguments.values()))
    if _NUMBER.sub("", words) == _NUMBER.sub("", folded_words(EXAMPLE_ERROR)) and not given & set(words.split()):
        return "this error is that of the example"
    if contradicted or (complaint and words in folded_words(complaint)):
        return "nothing speaks against the call: return its result, with what was complained about corrected"
    return ""
