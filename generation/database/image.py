"""A database file, read once into memory, from which any number of private copies can be opened."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from core.settings import UserError

_WAL_VERSIONS = slice(18, 20)  # bytes of the file header; an in-memory copy has no write-ahead log


@dataclass(frozen=True)
class TableShape:
    """A table. `columns` are the stored ones; without a `key`, its rows are a multiset.

    `unique` are the columns that are unique on their own; `nullable_key`: SQLite itself would allow NULL in the key.
    """

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    unique: frozenset[str]
    nullable_key: bool


@dataclass(frozen=True)
class Image:
    """The bytes of a database and the shapes of its tables.

    The image differs from the file in three ways. AUTOINCREMENT is dropped: its counter outlives deleted rows, so equal
    tables would behave differently. A row without its key cannot be written: SQLite allows NULL there, but its
    sessions, which record the changes, skip such rows. Bytes that are not UTF-8 become U+FFFD.
    """

    content: bytes
    tables: dict[str, TableShape]

    @classmethod
    def read(cls, path: Path) -> Image:
        """Raises UserError if `path` is not an SQLite database."""
        if not path.is_file():
            raise UserError(f"{path} was given as a database, but there is no such file")
        memory = apsw.Connection(":memory:")
        try:
            file = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
            with memory.backup("main", file, "main") as backup:
                backup.step()
            file.close()
            tables = {shape.name: shape for shape in _tables(memory)}
        except apsw.Error as error:
            raise UserError(f"{path} was given, but it cannot be read as an SQLite database: {error}") from None
        _normalise(memory, tables)
        content = bytearray(memory.serialize("main"))
        memory.close()
        content[_WAL_VERSIONS] = b"\x01\x01"
        return cls(content=bytes(content), tables=tables)

    def table(self, name: str) -> TableShape | None:
        """The table of that name, ignoring case."""
        return next((shape for shape in self.tables.values() if shape.name.lower() == name.lower()), None)


def quoted(name: str) -> str:
    """A name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _tables(connection: apsw.Connection) -> Iterator[TableShape]:
    names = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT GLOB 'sqlite_*'"
    indexes = 'SELECT name, origin FROM pragma_index_list(?) WHERE "unique" AND NOT partial'
    for (name,) in _select(connection, names):
        columns = _select(connection, 'SELECT name, pk, "notnull" FROM pragma_table_info(?) ORDER BY cid', name)
        key = sorted((column for column in columns if column[1]), key=lambda column: column[1])
        unique_indexes = _select(connection, indexes, name)
        indexed = [_select(connection, "SELECT name FROM pragma_index_info(?)", index) for index, _ in unique_indexes]
        single = {rows[0][0] for rows in indexed if len(rows) == 1 and rows[0][0]}
        yield TableShape(
            name=name,
            columns=tuple(column for column, _, _ in columns),
            key=tuple(column for column, _, _ in key),
            unique=frozenset(single | ({key[0][0]} if len(key) == 1 else set())),
            # The rowid's alias has no index and is never NULL.
            nullable_key=any(origin == "pk" for _, origin in unique_indexes)
            and not all(notnull for _, _, notnull in key),
        )


def _select(connection: apsw.Connection, sql: str, *bindings: str) -> list[tuple[Any, ...]]:
    return connection.execute(sql, bindings).fetchall()


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
    counted_tables = _select(
        connection, "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%'"
    )
    if not counted_tables:
        return
    connection.pragma("writable_schema", True)
    for name, sql in counted_tables:
        plain = re.sub(r"\bAUTOINCREMENT\b", "", sql, flags=re.IGNORECASE)
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE type = 'table' AND name = ?", (plain, name))
    connection.pragma("writable_schema", "RESET")
    connection.execute("DELETE FROM sqlite_sequence")
