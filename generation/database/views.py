"""Limited looks at a database whose rows belong together: every foreign key in a view finds its row in the view.

Tables are filled children first, and each row brings the rows that it refers to, so that tasks can follow a loan to its
book and the book to its author.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Protocol

from sqlalchemy import Connection
from sqlalchemy.sql import Select, column, func, literal_column, select, table

from generation.database.schema import DatabaseSchema, Table, read_only

Row = dict[str, Any]
Rows = dict[str, list[Row]]

_CANDIDATES = 4
"""Rows of a table that are tried for each one wanted: some bring more rows than fit into the view."""
_CHILDREN = 2
"""Rows of a table that are tried for each row of the view that they refer to."""


class _Source(Protocol):
    """Where the rows come from."""

    def sample(self, name: str, count: int) -> Iterable[Row]:
        """Up to `count` random rows of a table."""
        ...

    def matching(self, name: str, columns: Sequence[str], values: Sequence[Any], count: int) -> list[Row]:
        """Up to `count` rows of a table with these values in these columns."""
        ...


def sample_rows(path: Path, schema: DatabaseSchema, per_table: int, seed: int) -> Rows:
    """A limited data view: up to `per_table` rows of each table, which belong together; the same for the same file and
    seed.

    Values are JSON values; a BLOB is replaced by its size ("<7 bytes>"). Raises UserError if `path` is not an SQLite
    database.
    """
    with read_only(path) as connection:
        rows = _View(schema, _Database(connection, seed), per_table).fill(Random(seed))
    return {
        name: [{key: _json_value(value) for key, value in row.items()} for row in found] for name, found in rows.items()
    }


def related_rows(schema: DatabaseSchema, rows: Rows, per_table: int, rng: Random) -> Rows:
    """Up to `per_table` of the given rows of each table, which belong together as far as the given rows do."""
    return _View(schema, _Given(rows, rng), per_table).fill(rng)


class _View:
    """A view while it is filled."""

    def __init__(self, schema: DatabaseSchema, source: _Source, limit: int) -> None:
        self.tables = {table.name: table for table in schema.tables}
        self.source = source
        self.limit = limit
        self.rows: Rows = {name: [] for name in self.tables}

    def fill(self, rng: Random) -> Rows:
        depths = _depths(self.tables)
        order = sorted(rng.sample(list(self.tables), len(self.tables)), key=lambda name: -depths[name])
        for wanted in (1, self.limit):  # one row of each table first: the first tables would take all the room
            for name in order:
                for row in self._candidates(self.tables[name]):
                    if len(self.rows[name]) >= wanted:
                        break
                    self._add(name, row)
        for name in order:
            if not self.rows[name]:
                # No row fits with all that it refers to, be it that the database lacks it or the view has no room.
                self.rows[name] += list(self.source.sample(name, self.limit))
        return self.rows

    def _candidates(self, child: Table) -> Iterator[Row]:
        """First some rows that refer to rows of the view, then random ones."""
        for key in child.foreign_keys:
            for parent in list(self.rows[key.parent]):
                values = [parent[name] for name in key.parent_columns]
                yield from self.source.matching(child.name, key.columns, values, _CHILDREN)
        yield from self.source.sample(child.name, _CANDIDATES * self.limit)

    def _add(self, name: str, row: Row) -> None:
        """Add a row with all that it refers to, if they exist and fit."""
        needed: list[tuple[str, Row]] = []
        if not self._collect(name, row, needed):
            return
        added = [name for name, _ in needed]
        if all(len(self.rows[name]) + added.count(name) <= self.limit for name in set(added)):
            for table_name, found in needed:
                self.rows[table_name].append(found)

    def _collect(self, name: str, row: Row, needed: list[tuple[str, Row]]) -> bool:
        """Put a row and those it refers to into `needed`, without those of the view; False if one does not exist."""
        if row in self.rows[name] or (name, row) in needed:
            return True
        needed.append((name, row))
        for key in self.tables[name].foreign_keys:
            values = [row[column] for column in key.columns]
            if None in values:
                continue
            parents = self.source.matching(key.parent, key.parent_columns, values, 1)
            if not parents or not self._collect(key.parent, parents[0], needed):
                return False
        return True


def _depths(tables: Mapping[str, Table]) -> dict[str, int]:
    """How many tables the rows of each table refer to one after the other; in a circle, the number of tables."""
    depths = dict.fromkeys(tables, 0)
    for _ in tables:
        for name, child in tables.items():
            parents = [depths[key.parent] for key in child.foreign_keys if key.parent != name]
            depths[name] = min(len(tables), max((1 + depth for depth in parents), default=0))
    return depths


class _Database:
    """The rows of a database file. Each table has its own random numbers."""

    def __init__(self, connection: Connection, seed: int) -> None:
        self.connection = connection
        self.seed = seed

    def sample(self, name: str, count: int) -> Iterator[Row]:
        total = self.connection.execute(select(func.count()).select_from(table(name))).scalar_one()
        for offset in Random(f"{self.seed}/{name}").sample(range(total), min(count, total)):
            yield from self._read(_everything(name).limit(1).offset(offset))

    def matching(self, name: str, columns: Sequence[str], values: Sequence[Any], count: int) -> list[Row]:
        tests = [column(key) == value for key, value in zip(columns, values, strict=True)]
        return self._read(_everything(name).where(*tests).limit(count))

    def _read(self, query: Select[Any]) -> list[Row]:
        return [dict(row) for row in self.connection.execute(query).mappings()]


def _everything(name: str) -> Select[Any]:
    return select(literal_column("*")).select_from(table(name))


class _Given:
    """Rows that were read before."""

    def __init__(self, rows: Rows, rng: Random) -> None:
        self.rows = rows
        self.rng = rng

    def sample(self, name: str, count: int) -> list[Row]:
        rows = self.rows.get(name, [])
        return self.rng.sample(rows, min(count, len(rows)))

    def matching(self, name: str, columns: Sequence[str], values: Sequence[Any], count: int) -> list[Row]:
        wanted = [str(value) for value in values]
        rows = self.rows.get(name, [])
        found = [row for row in rows if [str(row[column]) for column in columns] == wanted]
        return found if count >= len(found) else self.rng.sample(found, count)


def _json_value(value: Any) -> Any:
    return f"<{len(value)} bytes>" if isinstance(value, bytes) else value
