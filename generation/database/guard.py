"""What generated SQL may do: plain reads and writes of a schema's tables with known functions, and nothing else.

The authorizer asks here while SQLite compiles a statement, so whatever the text looks like, it is the compiled program
that is judged, triggers, defaults and foreign-key actions included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import apsw

from generation.database.image import Image

_SCALAR = """abs ceil ceiling coalesce concat concat_ws exp floor format glob if ifnull iif instr length like ln log lower ltrim
    max min mod nullif pow power printf replace round rtrim sign sqrt substr substring trim trunc typeof unicode upper"""
_TEMPORAL = "date datetime julianday strftime time timediff unixepoch"
_ZONES = {"localtime", "utc"}
_AGGREGATE = """avg count group_concat median string_agg sum total
    cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank row_number"""
FUNCTIONS = frozenset(f"{_SCALAR} {_TEMPORAL} {_AGGREGATE}".split())
_WRITES = {apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE}

# SQLite's code of the action, its two arguments, the database, and the trigger, view or subquery it stands in.
Action = tuple[int, str | None, str | None, str | None, str | None]


class SqlError(Exception):
    """A statement was refused or failed, and changed nothing. The message is for whoever called the tool."""


class OutOfBoundsError(SqlError):
    """A statement took more time or memory than it may."""


class Nowhere(apsw.VFS):
    """A file system with no files and no clock: the same statements give the same results on any day."""

    NAME = "nowhere"

    def __init__(self) -> None:
        super().__init__(self.NAME, "")

    def xOpen(self, *_: Any) -> apsw.VFSFile:
        raise SqlError("files cannot be opened here")

    def xCurrentTime(self) -> float:
        raise SqlError("the present date and time are not known here; give the date itself")

    def xCurrentTimeInt64(self) -> int:
        return int(self.xCurrentTime())


NOWHERE = Nowhere()  # registered for as long as it lives
_CALENDAR = apsw.Connection(":memory:", vfs=Nowhere.NAME)


def take_away_the_clock(connection: apsw.Connection) -> None:
    """Have SQLite's functions of date and time refuse what depends on when and where they are asked: the present, which `Nowhere`
    does not know, and the machine's time zone, which SQLite would ask the system for."""
    for name in _TEMPORAL.split():
        connection.create_scalar_function(
            name, partial(_temporal, name), deterministic=True, flags=apsw.SQLITE_INNOCUOUS
        )


def _temporal(name: str, *arguments: Any) -> Any:
    if any(_as_read(given) in _ZONES for given in arguments):
        raise SqlError("the machine's time zone is not known here; dates and times are taken as they are")
    return _CALENDAR.execute(f"SELECT {name}({', '.join('?' * len(arguments))})", arguments).get


def _as_read(given: Any) -> str | None:
    """An argument as SQLite's functions of date and time read it: a blob is text too, a NUL ends it, case does not matter."""
    text = given.decode(errors="replace") if isinstance(given, bytes) else given
    return text.partition("\0")[0].lower() if isinstance(text, str) else None


@dataclass
class Inspection:
    """The actions a statement needs, and why those that may not be are refused."""

    actions: set[Action] = field(default_factory=set)
    refusals: list[str] = field(default_factory=list)


class Guard:
    """A connection's authorizer. Outside `inspect` and `only` it allows everything: the sandbox's own housekeeping."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._permits: Callable[[Action], bool] = _everything

    def __call__(self, *action: Any) -> int:
        return apsw.SQLITE_OK if self._permits(action) else apsw.SQLITE_DENY

    @contextmanager
    def inspect(self) -> Iterator[Inspection]:
        """Judge by the rules all that is compiled meanwhile."""
        found = Inspection()

        def judge(action: Action) -> bool:
            reason = self._refusal(action)
            found.refusals.extend([reason] if reason else [])
            found.actions.add(action)
            return reason is None

        with self._while(judge):
            yield found

    @contextmanager
    def only(self, actions: frozenset[Action]) -> Iterator[None]:
        """Allow just these; and the session's look at a table's layout when the first of its rows changes."""
        with self._while(lambda action: action in actions or action[:2] == (apsw.SQLITE_PRAGMA, "table_xinfo")):
            yield

    @contextmanager
    def _while(self, permits: Callable[[Action], bool]) -> Iterator[None]:
        self._permits = permits
        try:
            yield
        finally:
            self._permits = _everything

    def _refusal(self, action: Action) -> str | None:
        code, first, second, database, _ = action
        if code == apsw.SQLITE_SELECT:
            return None
        if code == apsw.SQLITE_FUNCTION:
            name = str(second).lower()
            allowed = ", ".join(sorted(FUNCTIONS))
            return None if name in FUNCTIONS else f"the function {name} may not be used; these may: {allowed}"
        if code == apsw.SQLITE_READ:
            return self._read_refusal(str(first), str(second))
        if code in _WRITES and database == "main" and first in self._image.tables:
            return None
        if code == apsw.SQLITE_RECURSIVE:
            return "recursive queries may not be used"
        kind = str(apsw.mapping_authorizer_function[code]).removeprefix("SQLITE_")
        what = f"{kind} {first}" if first else kind
        return f"{what} is not allowed: only SELECT, INSERT, UPDATE and DELETE on the schema's tables"

    def _read_refusal(self, table: str, column: str) -> str | None:
        shape = self._image.tables.get(table)
        if shape and column == "ROWID" and column not in shape.columns:
            return f"{table} has no column rowid: its rows have no key"
        # A read of no column is a count of rows, perhaps of a subquery's; what else bears that name, the sandbox checks.
        return None if shape or column == "" else f"no such table: {table}"


def _everything(_: Action) -> bool:
    return True
