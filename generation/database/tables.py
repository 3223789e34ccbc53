"""Which tables and views of a database serve here: those that SQLite can use without the extensions, functions and
collations of the program that made the file. Everything else is left out, with the reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import apsw.ext

from core.settings import UserError
from generation.database.guard import Guard, SqlError, disable_clock

_MAX_VIEW_STEPS = 5_000_000  # SQLite instructions to read a view once, far less than a tool call may take


@dataclass(frozen=True)
class TableShape:
    """A table or view. `columns` are the stored ones; without a `key`, its rows are a multiset.

    `unique` are the columns that are unique on their own; `nullable_key`: SQLite itself would allow NULL in the key.
    """

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...] = ()
    unique: frozenset[str] = frozenset()
    nullable_key: bool = False


@dataclass(frozen=True)
class Served:
    """The tables and views that serve, by name; views are read-only. `left_out` names the others, and the writes that
    no tool can make to a table that serves, each with the reason."""

    tables: dict[str, TableShape]
    views: dict[str, TableShape]
    left_out: tuple[str, ...]


def quoted(name: str) -> str:
    """A name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def open_copy(path: Path) -> apsw.Connection:
    """A copy of the file in memory: on a file that is opened to be read, SQLite does not compile all of a write. Raises
    UserError if `path` is not an SQLite database, apsw.Error if it is a broken one."""
    memory = apsw.Connection(":memory:")
    file = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        with memory.backup("main", file, "main") as backup:
            backup.step()
    except apsw.NotADBError:
        raise UserError(f"{path} was given, but it is not an SQLite database") from None
    file.close()
    return memory


def read_served(path: Path) -> Served:
    """Raises UserError if `path` is not an SQLite database."""
    try:
        with closing(open_copy(path)) as copy:
            return survey(copy)
    except apsw.Error as error:
        raise UserError(f"{path} was given, but it cannot be read as an SQLite database: {error}") from None


def survey(connection: apsw.Connection) -> Served:
    """Compiles reads and writes of every table, without its triggers, and reads every view once.

    It sets the connection's options as in a sandbox. Raises apsw.Error if the file is not a database.
    """
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
    disable_clock(connection)
    kinds: dict[str, list[str]] = {"table": [], "view": [], "virtual": [], "shadow": []}
    listed = "SELECT name, type FROM pragma_table_list WHERE schema = 'main' AND name NOT GLOB 'sqlite_*' ORDER BY name"
    for name, kind in select(connection, listed):
        kinds[kind].append(name)
    internal = _internal_prefixes(connection)
    left_out = [f"virtual table {name}" for name in kinds["virtual"]]
    tables, views = {}, {}
    for name in kinds["table"]:
        if not name.lower().startswith(internal):
            shape = _table_shape(connection, name)
            if why := _why_unusable(connection, shape):
                left_out.append(f"table {name}: {why}")
            else:
                tables[name] = shape
    guard = Guard({name: shape.columns for name, shape in tables.items()}, frozenset(kinds["view"]))
    for shape in tables.values():
        left_out += _impossible_writes(connection, shape, guard)
    for name in kinds["view"]:
        try:
            views[name] = _view_shape(connection, name, guard)
        except (apsw.Error, SqlError) as error:
            left_out.append(f"view {name}: {error}")
    return Served(tables, views, tuple(left_out))


def select(connection: apsw.Connection, sql: str, *bindings: str) -> list[tuple[Any, ...]]:
    """All rows of a trusted query."""
    return connection.execute(sql, bindings).fetchall()


def _internal_prefixes(connection: apsw.Connection) -> tuple[str, ...]:
    """How the tables are named that belong to virtual tables of unknown modules, in lower case. SQLite itself tells
    those of the modules that it knows."""
    known = {module for (module,) in select(connection, "SELECT lower(name) FROM pragma_module_list")}
    virtual = select(connection, "SELECT name, sql FROM sqlite_schema WHERE sql LIKE 'CREATE VIRTUAL TABLE%'")
    modules = {name: re.search(r"\bUSING\s+[\"`\[]?(\w+)", sql, re.IGNORECASE) for name, sql in virtual}
    return tuple(f"{name.lower()}_" for name, used in modules.items() if used and used[1].lower() not in known)


def _table_shape(connection: apsw.Connection, name: str) -> TableShape:
    columns = select(connection, 'SELECT name, pk, "notnull" FROM pragma_table_info(?) ORDER BY cid', name)
    key = sorted((column for column in columns if column[1]), key=lambda column: column[1])
    indexes = 'SELECT name, origin FROM pragma_index_list(?) WHERE "unique" AND NOT partial'
    unique_indexes = select(connection, indexes, name)
    indexed = [select(connection, "SELECT name FROM pragma_index_info(?)", index) for index, _ in unique_indexes]
    single = {rows[0][0] for rows in indexed if len(rows) == 1 and rows[0][0]}
    return TableShape(
        name=name,
        columns=tuple(column for column, _, _ in columns),
        key=tuple(column for column, _, _ in key),
        unique=frozenset(single | ({key[0][0]} if len(key) == 1 else set())),
        # The rowid's alias has no index and is never NULL.
        nullable_key=any(origin == "pk" for _, origin in unique_indexes) and not all(notnull for _, _, notnull in key),
    )


def writes(shape: TableShape) -> Iterator[str]:
    """An INSERT, an UPDATE of every column and a DELETE, which fire all triggers of a table."""
    table = quoted(shape.name)
    yield f"INSERT INTO {table} DEFAULT VALUES"
    yield f"UPDATE {table} SET {', '.join(f'{column} = {column}' for column in map(quoted, shape.columns))}"
    yield f"DELETE FROM {table}"


def _why_unusable(connection: apsw.Connection, shape: TableShape) -> str:
    if not shape.key and "_rowid_" in map(str.lower, shape.columns):
        return "it has no key, and its column _rowid_ hides the row numbers by which SQLite records changes"
    sorted_read = f"SELECT * FROM {quoted(shape.name)} ORDER BY {', '.join(map(quoted, shape.columns))}"
    try:
        for statement in (sorted_read, *writes(shape)):
            apsw.ext.query_info(connection, statement)
    except apsw.Error as error:
        return str(error)
    return ""


def _impossible_writes(connection: apsw.Connection, shape: TableShape, guard: Guard) -> Iterator[str]:
    """Compiles writes as tools may make them, with foreign keys; of those that are refused, one line for each
    reason."""
    table, columns = quoted(shape.name), [quoted(column) for column in shape.columns]
    kinds = {"INSERT": f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"}
    kinds |= {f"UPDATE {name}": f"UPDATE {table} SET {quoted(name)} = ?" for name in shape.columns}
    kinds["DELETE"] = f"DELETE FROM {table}"
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 1)
    connection.authorizer = guard
    refused: dict[str, list[str]] = {}
    try:
        for kind, statement in kinds.items():
            if why := _refusal(connection, statement, guard):
                refused.setdefault(why, []).append(kind)
    finally:
        connection.authorizer = None
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 0)
    for why, refused_kinds in refused.items():
        yield f"writes to {shape.name} ({', '.join(refused_kinds)}): {why}"


def _refusal(connection: apsw.Connection, statement: str, guard: Guard) -> str:
    """Why the statement does not compile under the guard; "" if it does."""
    with guard.inspect(statement) as inspection:
        try:
            apsw.ext.query_info(connection, statement)
        except apsw.Error as error:
            return inspection.refusals[0].partition(";")[0] if inspection.refusals else str(error)
    return ""


def _view_shape(connection: apsw.Connection, name: str, guard: Guard) -> TableShape:
    """Raises SqlError or apsw.Error if tools could not read all of the view."""
    connection.authorizer = guard
    try:
        whole = f"SELECT * FROM {quoted(name)}"
        with guard.inspect(whole) as inspection:
            apsw.ext.query_info(connection, whole)
        columns = tuple(column for (column,) in select(connection, "SELECT name FROM pragma_table_info(?)", name))
        connection.set_progress_handler(lambda: True, _MAX_VIEW_STEPS)
        connection.execute(f"SELECT {', '.join(f'count({quoted(c)})' for c in columns)} FROM {quoted(name)}").fetchall()
    except apsw.InterruptError:
        raise SqlError("it takes too long to read") from None
    except apsw.Error:
        if inspection.refusals:
            raise SqlError(inspection.refusals[0].partition(";")[0]) from None
        raise
    finally:
        connection.set_progress_handler(None)
        connection.authorizer = None
    return TableShape(name, columns)
