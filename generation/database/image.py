"""A database file, read once into memory, from which any number of private copies can be opened."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import apsw.ext

from core.settings import UserError
from generation.database.tables import Served, TableShape, open_copy, quoted, select, survey, writes

_ACCESSES = {apsw.SQLITE_READ, apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE}
_WAL_VERSIONS = slice(18, 20)  # bytes of the file header; an in-memory copy has no write-ahead log
_QUOTED = r"""'[^']*'|"[^"]*"|`[^`]*`|\[[^]]*\]|--[^\n]*|/\*.*?(?:\*/|\Z)"""  # strings, names and comments
_AUTOINCREMENT = re.compile(rf"(?P<quoted>{_QUOTED})|(?<![\w$])AUTOINCREMENT(?![\w$])", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Image:
    """The bytes of a database and the shapes of the tables and views that serve. `left_out` names the other tables and
    views, the writes that no tool can make, and the ignored triggers, each with the reason.

    The image differs from the file in four ways. A trigger that cannot run with the tables that serve is dropped, as
    one that keeps a full-text index up to date. AUTOINCREMENT is dropped: its counter outlives deleted rows, so equal
    tables would behave differently. A row without its key cannot be written: SQLite allows NULL there, but its
    sessions, which record the changes, skip such rows. Bytes that are not UTF-8 become U+FFFD.
    """

    content: bytes
    tables: dict[str, TableShape]
    views: dict[str, TableShape]
    left_out: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> Image:
        """Raises UserError if `path` is not an SQLite database."""
        if not path.is_file():
            raise UserError(f"{path} was given as a database, but there is no such file")
        try:
            memory = open_copy(path)
            served = survey(memory)
            ignored = tuple(_drop_broken_triggers(memory, served))
        except apsw.Error as error:
            raise UserError(f"{path} was given, but it cannot be read as an SQLite database: {error}") from None
        _normalise(memory, served.tables)
        content = bytearray(memory.serialize("main"))
        memory.close()
        content[_WAL_VERSIONS] = b"\x01\x01"
        return cls(bytes(content), served.tables, served.views, (*served.left_out, *ignored))

    def table(self, name: str) -> TableShape | None:
        """The table or view of that name, ignoring case."""
        shapes = (*self.tables.values(), *self.views.values())
        return next((shape for shape in shapes if shape.name.lower() == name.lower()), None)


def _drop_broken_triggers(connection: apsw.Connection, served: Served) -> Iterator[str]:
    """Keeps the triggers that compile and use no table or view that is left out; says of the others why they are
    ignored. Triggers of what is left out, and those instead of writes to views, never fire."""
    tables = {name.lower(): shape for name, shape in served.tables.items()}
    listed = select(connection, "SELECT name FROM pragma_table_list WHERE schema = 'main'")
    left_out = {name for (name,) in listed} - served.tables.keys() - served.views.keys()
    triggers = "SELECT name, tbl_name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY rowid"
    found = [row for row in select(connection, triggers) if row[1].lower() in tables]
    for name, _, _ in found:
        connection.execute(f"DROP TRIGGER {quoted(name)}")
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 1)
    for name, table, sql in found:
        if why := _why_broken(connection, sql, tables[table.lower()], left_out):
            connection.execute(f"DROP TRIGGER IF EXISTS {quoted(name)}")
            yield f"trigger {name}: {why}"


def _why_broken(connection: apsw.Connection, trigger: str, shape: TableShape, left_out: set[str]) -> str:
    """Create the trigger, then compile writes to its table, which compiles the trigger as well."""
    uses: list[str] = []

    def authorize(code: int, first: str | None, *_: str | None) -> int:
        uses.extend([first] if code in _ACCESSES and first in left_out else [])
        return apsw.SQLITE_DENY if uses else apsw.SQLITE_OK

    try:
        connection.execute(trigger)
        connection.authorizer = authorize
        for statement in writes(shape):
            apsw.ext.query_info(connection, statement)
    except apsw.Error as error:
        return f"it uses {uses[0]}" if uses else str(error)
    finally:
        connection.authorizer = None
    return ""


def _normalise(connection: apsw.Connection, tables: dict[str, TableShape]) -> None:
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
    connection.create_scalar_function("repaired", _repair_bytes, 1, deterministic=True)
    for shape in tables.values():
        _repair_text(connection, shape)
        if shape.nullable_key:
            _require_key(connection, shape)
    _drop_counters(connection)


def _repair_bytes(*raw: Any) -> str:
    return bytes(raw[0]).decode("utf-8", errors="replace")


def _repair_text(connection: apsw.Connection, shape: TableShape) -> None:
    table = quoted(shape.name)
    try:
        for _ in connection.execute(f"SELECT * FROM {table}"):
            pass
    except UnicodeDecodeError:
        for column in map(quoted, shape.columns):
            update = f"UPDATE {table} SET {column} = repaired(CAST({column} AS BLOB)) WHERE typeof({column}) = 'text'"
            connection.execute(update)


def _require_key(connection: apsw.Connection, shape: TableShape) -> None:
    table = quoted(shape.name)
    message = apsw.format_sql_value("NOT NULL constraint failed: " + ", ".join(f"{shape.name}.{c}" for c in shape.key))
    for event, rows in {"INSERT": ("NEW",), "UPDATE": ("OLD", "NEW"), "DELETE": ("OLD",)}.items():
        missing = " OR ".join(f"{row}.{quoted(column)} IS NULL" for row in rows for column in shape.key)
        trigger = quoted(f"{shape.name} key at {event}")
        connection.execute(
            f"CREATE TRIGGER {trigger} BEFORE {event} ON {table} WHEN {missing} "
            f"BEGIN SELECT RAISE(ABORT, {message}); END"
        )


def _drop_counters(connection: apsw.Connection) -> None:
    if not connection.table_exists("main", "sqlite_sequence"):  # it exists once a table has a counter
        return
    counted_tables = select(
        connection, "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%'"
    )
    connection.pragma("writable_schema", True)
    for name, sql in counted_tables:
        plain = _AUTOINCREMENT.sub(lambda token: token["quoted"] or "", sql)
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE type = 'table' AND name = ?", (plain, name))
    connection.pragma("writable_schema", "RESET")
    connection.execute("DELETE FROM sqlite_sequence")
