"""What generated SQL may do: read and write a schema's tables and read its views with known functions, nothing
else.

SQLite calls the authorizer while it compiles a statement, so the compiled program is judged, not its text: triggers,
defaults and foreign-key actions included.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import apsw

_SCALAR = """abs ceil ceiling coalesce concat concat_ws exp floor format glob if ifnull iif instr length like ln log
lower ltrim max min mod nullif pow power printf replace round rtrim sign sqrt substr substring trim trunc typeof unicode
upper"""
_TEMPORAL = "date datetime julianday strftime time timediff unixepoch"
_ZONES = {"localtime", "utc"}
_AGGREGATE = """avg count group_concat median string_agg sum total
    cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank row_number"""
FUNCTIONS = frozenset(f"{_SCALAR} {_TEMPORAL} {_AGGREGATE}".split())
_PRESENT = frozenset({"current_date", "current_time", "current_timestamp"})
_WRITES = {apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE}

# SQLite's action code, the action's two arguments, the database, and the enclosing trigger, view or subquery.
SqlAction = tuple[int, str | None, str | None, str | None, str | None]


TOO_MANY_ROWS = "too many to show"
"""In the error of a call that more rows match than a result may have."""


class SqlError(Exception):
    """A statement was refused or failed, and changed nothing. The message is for the tool's caller."""


class OutOfBoundsError(SqlError):
    """A statement exceeded its time or memory limit."""


class Nowhere(apsw.VFS):
    """A file system without files or a clock: a statement gives the same result on any day."""

    NAME = "nowhere"

    def __init__(self) -> None:
        super().__init__(self.NAME, "")

    def xOpen(self, *_: Any) -> apsw.VFSFile:
        raise SqlError("files cannot be opened here")

    def xCurrentTime(self) -> float:
        raise SqlError("the present date and time are not known here; give the date itself")

    def xCurrentTimeInt64(self) -> int:
        return int(self.xCurrentTime())


NOWHERE = Nowhere()  # registered as long as this object exists
_CALENDAR = apsw.Connection(":memory:", vfs=Nowhere.NAME)


def disable_clock(connection: apsw.Connection) -> None:
    """Make SQLite's date and time functions refuse what depends on the machine: the current time, which `Nowhere` does
    not know, and the time zone, for which SQLite would query the system."""
    for name in _TEMPORAL.split():
        connection.create_scalar_function(
            name, partial(_call_temporal, name), deterministic=True, flags=apsw.SQLITE_INNOCUOUS
        )


def _call_temporal(name: str, *arguments: Any) -> Any:
    if any(_as_sqlite_text(given) in _ZONES for given in arguments):
        raise SqlError("the machine's time zone is not known here; dates and times are taken as they are")
    return _CALENDAR.execute(f"SELECT {name}({', '.join('?' * len(arguments))})", arguments).get


def _as_sqlite_text(given: Any) -> str | None:
    """An argument as SQLite's date and time functions read it: blobs are text, a NUL ends it, case is ignored."""
    text = given.decode(errors="replace") if isinstance(given, bytes) else given
    return text.partition("\0")[0].lower() if isinstance(text, str) else None


@dataclass
class Inspection:
    """The actions a statement needs, and why the forbidden ones are refused."""

    actions: set[SqlAction] = field(default_factory=set)
    refusals: list[str] = field(default_factory=list)


class Guard:
    """A connection's authorizer. Outside `inspect` and `only` it allows everything, for the sandbox's own
    statements."""

    def __init__(self, tables: Mapping[str, Collection[str]], views: Collection[str]) -> None:
        """Takes the columns of each table, and the names of the views."""
        self._tables = tables
        self._views = views
        self._permits: Callable[[SqlAction], bool] = _allow_all

    def __call__(self, *action: Any) -> int:
        return apsw.SQLITE_OK if self._permits(action) else apsw.SQLITE_DENY

    @contextmanager
    def inspect(self, sql: str) -> Iterator[Inspection]:
        """Apply the rules to everything compiled in this context, for the statement `sql`, and collect the actions."""
        inspection = Inspection()

        def is_allowed(action: SqlAction) -> bool:
            reason = self._refusal(action, sql)
            inspection.refusals.extend([reason] if reason else [])
            inspection.actions.add(action)
            return reason is None

        with self._permitting(is_allowed):
            yield inspection

    @contextmanager
    def only(self, actions: frozenset[SqlAction]) -> Iterator[None]:
        """Allow only these actions, and the session's look at a table's columns when its first row changes."""
        with self._permitting(lambda action: action in actions or action[:2] == (apsw.SQLITE_PRAGMA, "table_xinfo")):
            yield

    @contextmanager
    def _permitting(self, permits: Callable[[SqlAction], bool]) -> Iterator[None]:
        self._permits = permits
        try:
            yield
        finally:
            self._permits = _allow_all

    def _refusal(self, action: SqlAction, sql: str) -> str | None:
        code, first, second, database, within = action
        if code == apsw.SQLITE_SELECT:
            return None
        if code == apsw.SQLITE_FUNCTION:
            return self._function_refusal(str(second).lower(), within, sql)
        if code == apsw.SQLITE_READ:
            return self._read_refusal(str(first), str(second))
        if code in _WRITES and database == "main" and first in self._tables:
            return None
        if code == apsw.SQLITE_RECURSIVE:
            return "recursive queries may not be used"
        kind = str(apsw.mapping_authorizer_function[code]).removeprefix("SQLITE_")
        what = f"{kind} {first}" if first else kind
        return f"{what} is not allowed: only SELECT, INSERT, UPDATE and DELETE on the schema's tables"

    def _function_refusal(self, name: str, within: str | None, sql: str) -> str | None:
        # SQLite also names the default of a column that is only read or written to another value. Where it is really
        # used, the statement fails when it runs: `Nowhere` has no clock.
        is_default = name in _PRESENT and not within and name not in sql.lower()
        if name in FUNCTIONS or is_default:
            return None
        return f"the function {name} may not be used; these may: {', '.join(sorted(FUNCTIONS))}"

    def _read_refusal(self, table: str, column: str) -> str | None:
        if column == "ROWID" and table in self._tables and column not in self._tables[table]:
            return f"{table} has no column rowid: its rows have no key"
        # A read of no column counts rows, perhaps a subquery's; the sandbox checks what else may have that name.
        return None if table in self._tables or table in self._views or column == "" else f"no such table: {table}"


def _allow_all(_: SqlAction) -> bool:
    return True
