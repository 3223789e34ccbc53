"""Reads relational schemas from any SQLite file, through SQLAlchemy."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, create_engine, inspect
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.engine.reflection import Inspector
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool
from sqlalchemy.sql import column, distinct, func, select, table
from sqlalchemy.sql.expression import ColumnClause
from sqlalchemy.types import Boolean, Float, Integer, Numeric, TypeEngine

from core.messages import Frozen
from core.settings import UserError
from generation.database.tables import read_served
from generation.specs.spelling import snake

Kind = Literal["integer", "number", "string"]
Spelling = dict[str, tuple[str, dict[str, str]]]  # lower-case table name -> its name, lower-case column -> its name


class Column(Frozen):
    """`kind` is the JSON type of its values. SQLite stores booleans as 0 and 1, so they are integers too; `flag` marks
    those that mean no and yes: declared as BOOLEAN, or with both values, no other ones, and no name of a count."""

    name: str
    kind: Kind
    nullable: bool
    primary_key: bool
    flag: bool = False


class ForeignKey(Frozen):
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]


class Table(Frozen):
    """A table, or a view, which has no key and can only be read."""

    name: str
    columns: tuple[Column, ...]
    foreign_keys: tuple[ForeignKey, ...]
    rows: int
    view: bool = False


class DatabaseSchema(Frozen):
    """A database's tables in name order, then its views. `ddl` is the text that creates them, for prompts."""

    name: str
    tables: tuple[Table, ...]
    ddl: str

    @property
    def flags(self) -> frozenset[str]:
        """The names, in snake_case, of columns that are flags in every table that has them."""
        columns = [column for table in self.tables for column in table.columns]
        return frozenset(snake(c.name) for c in columns if c.flag) - {snake(c.name) for c in columns if not c.flag}


def read_schema(path: Path, name: str) -> DatabaseSchema:
    """The schema of the SQLite file at `path`: the tables and views that serve (generation.database.tables).

    Names in foreign keys are spelt as in their tables, and a foreign key without columns is one to its parent's primary
    key. One to a table or column that does not exist, or to a primary key of another size, is dropped. Raises UserError
    if `path` is not an SQLite database.
    """
    served = read_served(path)
    with read_only(path) as connection:
        inspector = inspect(connection)
        names = sorted(served.tables)
        spelling = {t.lower(): (t, {c["name"].lower(): c["name"] for c in inspector.get_columns(t)}) for t in names}
        tables = tuple(_read_table(connection, inspector, t, _read_foreign_keys(inspector, t, spelling)) for t in names)
        views = tuple(_read_table(connection, inspector, v, (), view=True) for v in sorted(served.views))
        return DatabaseSchema(
            name=name, tables=(*tables, *views), ddl=_read_ddl(connection, [*names, *sorted(served.views)])
        )


@contextmanager
def read_only(path: Path) -> Iterator[Connection]:
    """A read-only connection. Bytes that are not UTF-8, as in some of Spider's databases, become U+FFFD. Raises
    UserError if `path` is not an SQLite database."""

    def open_read_only() -> sqlite3.Connection:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        connection.text_factory = lambda text: text.decode("utf-8", errors="replace")
        return connection

    engine = create_engine("sqlite://", creator=open_read_only, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            yield connection
    except DatabaseError as error:
        raise UserError(f"{path} was given, but it cannot be read as an SQLite database: {error.orig}") from None


def _read_table(
    connection: Connection, inspector: Inspector, name: str, keys: Iterable[ForeignKey], *, view: bool = False
) -> Table:
    declared = inspector.get_columns(name)
    primary_key = set(inspector.get_pk_constraint(name)["constrained_columns"])
    rows, stored = _stored_values(connection, name, declared)
    columns = tuple(
        Column(
            name=reflected["name"],
            kind=_kind(reflected["type"], values.classes),
            nullable=reflected["nullable"] and reflected["name"] not in primary_key,
            primary_key=reflected["name"] in primary_key,
            flag=_is_flag(reflected, values) and reflected["name"] not in primary_key,
        )
        for reflected, values in zip(declared, stored, strict=True)
    )
    foreign_keys = tuple(sorted(keys, key=lambda key: key.columns))
    return Table(name=name, columns=columns, foreign_keys=foreign_keys, rows=rows, view=view)


def _read_foreign_keys(inspector: Inspector, name: str, spelling: Spelling) -> Iterator[ForeignKey]:
    _, child_columns = spelling[name.lower()]
    for key in inspector.get_foreign_keys(name):
        parent, columns_of_parent = spelling.get(key["referred_table"].lower(), ("", {}))
        if not parent:
            continue
        # SQLAlchemy finds the primary key that is meant only if the parent's name is spelt as in its definition.
        referred = key["referred_columns"] or inspector.get_pk_constraint(parent)["constrained_columns"]
        columns = tuple(child_columns.get(c.lower(), "") for c in key["constrained_columns"])
        parent_columns = tuple(columns_of_parent.get(c.lower(), "") for c in referred)
        if len(columns) == len(parent_columns) and all((*columns, *parent_columns)):
            yield ForeignKey(columns=columns, parent=parent, parent_columns=parent_columns)


class _Values(NamedTuple):
    """What a column stores: the storage classes of its values without "null", and the lowest and highest value."""

    classes: set[str]
    low: Any
    high: Any


def _stored_values(connection: Connection, name: str, columns: list[ReflectedColumn]) -> tuple[int, list[_Values]]:
    """(row count, the values of each column), in one scan."""
    read: list[Any] = []
    for declared in columns:
        values: ColumnClause[Any] = column(declared["name"])
        read += [func.group_concat(distinct(func.typeof(values))), func.min(values), func.max(values)]
    count, *found = connection.execute(select(func.count(), *read).select_from(table(name))).one()
    triples = zip(found[::3], found[1::3], found[2::3], strict=True)
    return count, [_Values(set((text or "").split(",")) - {"", "null"}, low, high) for text, low, high in triples]


_COUNTS = {"count", "number", "quantity", "qty", "total", "amount", "copies", "num", "level", "rank", "size", "id"}


def _is_flag(declared: ReflectedColumn, values: _Values) -> bool:
    if values.classes - {"integer"} or (values.classes and (values.low < 0 or values.high > 1)):
        return False
    spread = values.classes and values.low == 0 and values.high == 1
    return isinstance(declared["type"], Boolean) or bool(
        spread and not _COUNTS & set(snake(declared["name"]).split("_"))
    )


def _kind(declared: TypeEngine[Any], stored: set[str]) -> Kind:
    """The declared type's affinity, corrected by what is stored: SQLite lets a column contain anything."""
    if stored & {"text", "blob"}:
        return "string"
    if "real" in stored:
        return "number"
    if isinstance(declared, Float) or (isinstance(declared, Numeric) and declared.scale):
        return "number"
    if stored or isinstance(declared, Integer | Boolean):
        return "integer"
    return "number" if isinstance(declared, Numeric) else "string"


def _read_ddl(connection: Connection, names: list[str]) -> str:
    rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type IN ('table', 'view')")
    statements: dict[str, str] = {row.name: row.sql for row in rows}
    return "\n\n".join(f"{statements[name].strip()};" for name in names)
