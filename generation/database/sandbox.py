"""A locked-down in-memory copy of a database: the only place where generated SQL ever runs."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import apsw
import apsw.ext

from generation.database.changes import describe
from generation.database.guard import (
    NOWHERE,
    TOO_MANY_ROWS,
    Guard,
    OutOfBoundsError,
    SqlAction,
    SqlError,
    disable_clock,
)
from generation.database.image import Image

_LIMITS = {
    apsw.SQLITE_LIMIT_LENGTH: 1_000_000,  # bytes of a string, a BLOB or a row
    apsw.SQLITE_LIMIT_SQL_LENGTH: 20_000,
    apsw.SQLITE_LIMIT_EXPR_DEPTH: 100,
    apsw.SQLITE_LIMIT_PARSER_DEPTH: 100,
    apsw.SQLITE_LIMIT_COMPOUND_SELECT: 20,
    apsw.SQLITE_LIMIT_VDBE_OP: 100_000,
    apsw.SQLITE_LIMIT_VARIABLE_NUMBER: 100,
    apsw.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1_000,
    apsw.SQLITE_LIMIT_TRIGGER_DEPTH: 20,
    apsw.SQLITE_LIMIT_ATTACHED: 0,
    apsw.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_OPTIONS = {
    apsw.SQLITE_DBCONFIG_DEFENSIVE: 1,
    apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA: 0,
    apsw.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION: 0,
    apsw.SQLITE_DBCONFIG_ENABLE_COMMENTS: 0,
    apsw.SQLITE_DBCONFIG_DQS_DML: 0,  # "name" is never a string, so a misspelt column is an error
}
_MAX_FILE_ROW = 2**30  # bytes; SQLite's own limit is lower
_MAX_MEMORY = 64 * 2**20  # bytes one statement may use
_STEPS_BETWEEN_CHECKS = 1_000  # SQLite instructions between two checks of time and memory


@dataclass(frozen=True)
class Limits:
    """What one call may use: rows of its result, and seconds."""

    rows: int = 200
    seconds: float = 1.0


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Statement:
    """SQL that was compiled and found harmless. `columns` are those of its result rows."""

    sql: str
    reads: bool
    parameters: frozenset[str]
    columns: tuple[str, ...]
    actions: frozenset[SqlAction]


class Sandbox:
    """One private copy of an image: runs statements, reports what they changed, and undoes it.

    All changes stay in one open transaction with a session attached. `changeset` has them in the format of SQLite's
    session extension, `changes` as text; the cost of both grows with the changes, not with the database.
    """

    def __init__(self, image: Image, limits: Limits) -> None:
        self.image = image
        self._limits = limits
        self._guard = Guard({name: shape.columns for name, shape in image.tables.items()}, image.views)
        self._connection = apsw.Connection(":memory:", vfs=NOWHERE.NAME)
        self._connection.deserialize("main", image.content)
        self._lock_down()
        self._deadline = self._memory = math.inf
        self._session: apsw.Session | None = None
        self.changeset = b""
        self.changes: tuple[str, ...] = ()
        self.reset()

    def _lock_down(self) -> None:
        self._connection.pragma("foreign_keys", True)
        self._connection.pragma("temp_store", "memory")
        self._connection.drop_modules(None)
        disable_clock(self._connection)
        for option, value in _OPTIONS.items():
            self._connection.config(option, value)
        for limit, value in _LIMITS.items():
            self._connection.limit(limit, value)
        self._connection.authorizer = self._guard
        self._connection.set_progress_handler(self._is_exhausted, _STEPS_BETWEEN_CHECKS)

    def prepare(self, sql: str) -> Statement:
        """Compile one statement without running it. Raises SqlError with every reason why it must not run."""
        with self._guard.inspect(sql) as inspection:
            try:
                details = apsw.ext.query_info(self._connection, sql)
            except (apsw.Error, ValueError) as error:  # ValueError: a NUL or a lone surrogate in the text
                raise SqlError("; ".join(dict.fromkeys(inspection.refusals)) or str(error)) from None
        if details.query_remaining is not None or not details.has_vdbe or details.is_explain or not inspection.actions:
            raise SqlError("exactly one SELECT, INSERT, UPDATE or DELETE is expected")
        read = {str(first) for code, first, *_ in inspection.actions if code == apsw.SQLITE_READ}
        for name in read - self.image.tables.keys() - self.image.views.keys():
            # The name of a subquery, or of a virtual table such as json_each that exists once it is named.
            if self._connection.pragma("table_info", name):
                raise SqlError(f"no such table: {name}")
        if None in details.bindings_names:
            raise SqlError("parameters must be named, as in :customer_id")
        return Statement(
            sql=sql,
            reads=details.is_readonly,
            parameters=frozenset(map(str, details.bindings_names)),
            columns=tuple(name for name, _ in details.description),
            actions=frozenset(inspection.actions),
        )

    def run(self, statement: Statement, arguments: Mapping[str, Any]) -> Any:
        """A prepared statement's result as a JSON value; parameters without an argument are NULL.

        A SELECT returns its rows as objects. An INSERT returns `rows_affected` and, for one new row, its RETURNING
        columns; UPDATE and DELETE return `rows_affected`. Raises SqlError, with nothing changed, if SQLite refuses or a
        limit is exceeded.
        """
        bindings = {name: arguments.get(name) for name in statement.parameters}
        try:
            if not statement.reads:
                rows = self._write(statement, bindings)
                return {"rows_affected": self._connection.changes()} | (rows[0] if len(rows) == 1 else {})
            rows = self._execute(statement, bindings, self._limits.rows + 1)
        except apsw.InterruptError:
            raise OutOfBoundsError(f"stopped: it takes more than {self._limits.seconds} s or too much memory") from None
        except (apsw.Error, OverflowError, UnicodeError, TypeError) as error:
            raise SqlError(str(error)) from None
        if len(rows) > self._limits.rows:
            raise SqlError(f"more than {self._limits.rows} rows match, {TOO_MANY_ROWS}; ask for fewer")
        return rows

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a trusted statement."""
        return self._connection.execute(sql).fetchall()

    def reset(self, changeset: bytes = b"") -> None:
        """Return to the image, or to the state of `changeset`. Raises ValueError if that is of another database."""
        if self._session is not None:
            self._session.close()
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._connection.execute("BEGIN")
        self._session = apsw.Session(self._connection, "main")
        self._session.config(apsw.SQLITE_SESSION_OBJCONFIG_ROWID, True)
        self._session.attach()
        self.changeset, self.changes = b"", ()
        if changeset:
            self._apply(changeset)

    def refork(self) -> None:
        """Leave the state and restore it, as a fork does. Raises ValueError if it cannot be restored."""
        changeset, changes = self.changeset, self.changes
        self.reset(changeset)
        if self.changes != changes:
            raise ValueError("the restored state has other changes")

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
        self._connection.close()

    def _apply(self, changeset: bytes) -> None:
        # The changeset already contains what triggers and cascades did, and its foreign keys were checked. Once more,
        # those to columns without a unique index would fail: SQLite applies an UPDATE to all columns of a row.
        # Rows of the file may be longer than what statements may write.
        for option in (apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, apsw.SQLITE_DBCONFIG_ENABLE_FKEY):
            self._connection.config(option, 0)
        self._connection.limit(apsw.SQLITE_LIMIT_LENGTH, _MAX_FILE_ROW)
        try:
            apsw.Changeset.apply(changeset, self._connection)
        except apsw.Error as error:
            raise ValueError(f"the snapshot does not fit this database: {error}") from None
        finally:
            for option in (apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, apsw.SQLITE_DBCONFIG_ENABLE_FKEY):
                self._connection.config(option, 1)
            self._connection.limit(apsw.SQLITE_LIMIT_LENGTH, _LIMITS[apsw.SQLITE_LIMIT_LENGTH])
        self._update_changes()
        if len(self.changeset) != len(changeset):
            raise ValueError("the snapshot does not fit this database: it has other tables")

    def _update_changes(self) -> None:
        assert self._session is not None
        changeset = self._session.changeset()
        self.changes = describe(changeset, self.image.tables, self._connection)
        self.changeset = changeset

    def _write(self, statement: Statement, bindings: dict[str, Any]) -> list[dict[str, Any]]:
        try:
            rows = self._execute(statement, bindings, None)
            # Nothing is ever committed, so constraints deferred to the commit are checked here.
            if self._connection.status(apsw.SQLITE_DBSTATUS_DEFERRED_FKS)[0]:
                raise SqlError("FOREIGN KEY constraint failed")
            self._update_changes()
        except BaseException:
            # The transaction may be gone, and a session keeps what it saw of rows that a rollback restores.
            self.reset(self.changeset)
            raise
        return rows

    def _execute(self, statement: Statement, bindings: dict[str, Any], limit: int | None) -> list[dict[str, Any]]:
        with self._guard.only(statement.actions), self._within_limits():
            cursor = self._connection.cursor()
            try:
                rows = islice(cursor.execute(statement.sql, bindings), limit)
                return [dict(zip(statement.columns, map(_json_value, row), strict=True)) for row in rows]
            finally:
                cursor.close(force=True)

    @contextmanager
    def _within_limits(self) -> Iterator[None]:
        self._deadline = time.monotonic() + self._limits.seconds
        self._memory = apsw.memory_used() + _MAX_MEMORY
        try:
            yield
        finally:
            self._deadline = self._memory = math.inf

    def _is_exhausted(self) -> bool:
        return time.monotonic() > self._deadline or apsw.memory_used() > self._memory


def _json_value(value: Any) -> Any:
    """JSON has neither bytes nor infinity."""
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    return None if isinstance(value, float) and not math.isfinite(value) else value
