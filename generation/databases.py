"""Relational schemas, read from any SQLite file through SQLAlchemy."""

from __future__ import annotations

from core.messages import Frozen


class Column(Frozen):
    """`kind` is the JSON type its values have: integer, number, string or boolean."""

    name: str
    kind: str
    nullable: bool
    primary_key: bool


class ForeignKey(Frozen):
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]


class Table(Frozen):
    name: str
    columns: tuple[Column, ...]
    foreign_keys: tuple[ForeignKey, ...]
    rows: int


class DatabaseSchema(Frozen):
    """A database's tables in name order. `ddl` is its CREATE TABLE text, for prompts."""

    name: str
    tables: tuple[Table, ...]
    ddl: str
