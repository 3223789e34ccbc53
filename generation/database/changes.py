"""Describes a changeset in text that is the same for the same state, however it was reached."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import apsw

from generation.database.guard import SqlError
from generation.database.tables import TableShape, quoted

Row = tuple[Any, ...]


def describe(changeset: bytes, tables: Mapping[str, TableShape], connection: apsw.Connection) -> tuple[str, ...]:
    """One line for each changed row, sorted: `UPDATE customers customer_id=3: city 'Rome' -> 'Oslo'`.

    Rows of a table without a key cannot be named: their changes are the net rows deleted and inserted. `connection` is
    in the state after the changes. Values are SQL literals, so different changes never read alike.

    Raises SqlError for a key that only changes to one that SQLite takes for equal, as in another case: the session
    records two changes of one row then, which cannot be applied.
    """
    lines: list[str] = []
    unkeyed_rows: Counter[str] = Counter()
    for change in apsw.Changeset.iter(changeset):
        shape = tables[change.name]
        if shape.key:
            lines.append(_keyed_line(change, shape))
        else:
            before, after = _complete_rows(change, shape, connection)
            unkeyed_rows.update([_unkeyed_line(shape, after)] if after else [])
            unkeyed_rows.subtract([_unkeyed_line(shape, before)] if before else [])
    if len(set(lines)) < len(lines):
        raise SqlError("a new key cannot become one that SQLite takes for equal, as in another case")
    for line, count in unkeyed_rows.items():
        lines.extend([f"{'INSERT' if count > 0 else 'DELETE'} {line}"] * abs(count))
    return tuple(sorted(lines))


def _keyed_line(change: apsw.TableChange, shape: TableShape) -> str:
    old, new = change.old or (), change.new or ()
    if old and new and any(new[shape.columns.index(column)] is not apsw.no_change for column in shape.key):
        raise SqlError(f"the key of {shape.name} cannot become one that SQLite takes for equal, as in another case")
    row = dict(zip(shape.columns, old or new, strict=True))
    where = ", ".join(f"{column}={_literal(row.pop(column))}" for column in shape.key)
    if change.op == "UPDATE":
        cells = zip(shape.columns, old, new, strict=True)
        what = [f"{name} {_literal(was)} -> {_literal(now)}" for name, was, now in cells if now is not apsw.no_change]
    else:
        what = _cells(row.items())
    return f"{change.op} {shape.name} {where}" + (f": {', '.join(what)}" if what else "")


def _complete_rows(change: apsw.TableChange, shape: TableShape, connection: apsw.Connection) -> tuple[Row, Row]:
    """The row before and after; () where it does not exist.

    The session puts the rowid first, which is left out: it only tells the order of insertions. For an update the
    session keeps only the changed columns; the others are read.
    """
    old, new = change.old or (), change.new or ()
    if old and new:
        columns = ", ".join(map(quoted, shape.columns))
        select = f"SELECT {columns} FROM {quoted(shape.name)} WHERE _rowid_ = ?"
        new = (old[0], *connection.execute(select, (old[0],)).fetchall()[0])
        old = tuple(now if was is apsw.no_change else was for was, now in zip(old, new, strict=True))
    return old[1:], new[1:]


def _unkeyed_line(shape: TableShape, row: Row) -> str:
    return f"{shape.name}: {', '.join(_cells(zip(shape.columns, row, strict=True)))}"


def _cells(cells: Iterable[tuple[str, Any]]) -> list[str]:
    return [f"{name} {_literal(value)}" for name, value in cells]


def _literal(value: Any) -> str:
    return str(apsw.format_sql_value(value))
