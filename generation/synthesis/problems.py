"""What keeps a proposed database from being used: a kind, which summaries count, and words that a model can act on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

import apsw

Kind = Literal[
    "unreadable",
    "names",
    "size",
    "types",
    "generators",
    "references",
    "constraints",
    "variety",
    "copy",
    "repetition",
    "internal",
]

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_LONGEST = 40
_RESERVED = frozenset(word.lower() for word in apsw.keywords) | {"rowid", "oid", "rows_affected"}


class Problem(NamedTuple):
    kind: Kind
    text: str


def name_problems(name: str, what: str) -> Iterator[Problem]:
    """Why a table or column cannot have this name."""
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        yield Problem("names", f"{what} {name[:60]!r}: expected a name in snake_case of at most {_LONGEST} letters")
    elif name in _RESERVED or name.startswith("sqlite"):
        yield Problem("names", f"{what} {name!r}: SQL uses that word itself; take another name")
