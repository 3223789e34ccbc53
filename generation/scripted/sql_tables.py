"""Words for the tables of a relational schema: what a row is called, which column names it, which values are
allowed."""

from __future__ import annotations

import re
from functools import lru_cache

from generation.database.schema import Column, DatabaseSchema, Table
from generation.specs.spelling import plural, singular, snake

_LABELS = ("name", "title", "email", "label", "subject")


def row_name(table: str) -> str:
    """One row of a table: InvoiceLines -> invoice_line."""
    return singular(snake(table))


def rows_name(table: str) -> str:
    """Several rows of a table: InvoiceLine -> invoice_lines."""
    return plural(snake(table))


def primary_key(table: Table) -> Column | None:
    """The table's key if it is a single integer column: only then can users name rows and tools create them."""
    keys = [column for column in table.columns if column.primary_key]
    return keys[0] if len(keys) == 1 and keys[0].kind == "integer" else None


def label(table: Table) -> Column | None:
    """The text column that would name a row in conversation; None if the table has none."""
    foreign = {name for key in table.foreign_keys for name in key.columns}
    texts = [column for column in table.columns if column.kind == "string" and column.name not in foreign]
    for part in _LABELS:
        for column in texts:
            if part in snake(column.name) and "file" not in snake(column.name):
                return column
    return None


@lru_cache(maxsize=4096)
def closed_values(schema: DatabaseSchema, table: Table, column: str) -> tuple[str, ...]:
    """The values that a CHECK (column IN (...)) allows; empty without one."""
    ddl = _statement(schema, table)
    check = re.search(rf'CHECK\s*\(\s*["`\[]?{column}["`\]]?\s+IN\s*\(([^)]*)\)', ddl, re.I)
    return tuple(re.findall(r"'([^']*)'", check.group(1))) if check else ()


@lru_cache(maxsize=4096)
def is_unique(schema: DatabaseSchema, table: Table, column: str) -> bool:
    """Whether the column's definition says that no two rows may have the same value."""
    return bool(re.search(rf'["`\[(\s,]{column}["`\]]?\s[^,]*\bUNIQUE\b', _statement(schema, table), re.I))


def _statement(schema: DatabaseSchema, table: Table) -> str:
    """The table's CREATE TABLE; empty if the DDL has none."""
    start = rf'CREATE TABLE\s+["`\[]?{table.name}\b'
    return next((part for part in _statements(schema.ddl) if re.match(start, part, re.I)), "")


def _statements(ddl: str) -> list[str]:
    return re.split(r"(?=CREATE TABLE)", ddl, flags=re.I)
