"""Writes a synthesised database as an SQLite file, and looks at what was written: constraints, joins, variety."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw

from core.files import replacing
from generation.database.held_out_mark import mark_held_out
from generation.database.spec import ChoiceValues, ColumnSpec, DatabaseSpec, TableSpec
from generation.database.tables import quoted, read_served
from generation.synthesis.fill import Cell, Columns, fill
from generation.synthesis.limits import Limits
from generation.synthesis.problems import Problem
from generation.synthesis.table_checks import is_nullable

_SQL_TYPES = {"integer": "INTEGER", "number": "REAL", "boolean": "BOOLEAN"}


def create_statements(spec: DatabaseSpec) -> Iterator[str]:
    """The CREATE TABLE of every table, parents first."""
    tables = {table.name: table for table in spec.tables}
    for table in spec.tables:
        lines = [f"{quoted(table.key)} INTEGER PRIMARY KEY"]
        for reference in table.references:
            parent = tables[reference.table]
            nullable = reference.missing or reference.table == table.name
            target = f"REFERENCES {quoted(parent.name)} ({quoted(parent.key)})"
            lines.append(f"{quoted(reference.column)} INTEGER{'' if nullable else ' NOT NULL'} {target}")
        lines += [_column(column, table, tables) for column in table.columns]
        if table.unique_together:
            lines.append(f"UNIQUE ({', '.join(map(quoted, table.unique_together))})")
        for check in table.checks:
            right = quoted(check.other) if check.other else _literal(check.value)
            lines.append(f"CHECK ({quoted(check.column)} {check.op} {right})")
        yield f"CREATE TABLE {quoted(table.name)} (\n    " + ",\n    ".join(lines) + "\n)"


def _column(column: ColumnSpec, table: TableSpec, tables: dict[str, TableSpec]) -> str:
    name = quoted(column.name)
    parts = [name, _SQL_TYPES.get(column.type, "TEXT")]
    if not is_nullable(column, table, tables):
        parts.append("NOT NULL")
    if column.unique:
        parts.append("UNIQUE")
    if isinstance(column.values, ChoiceValues):
        parts.append(f"CHECK ({name} IN ({', '.join(map(_literal, column.values.options))}))")
    if column.type == "boolean":
        parts.append(f"CHECK ({name} IN (0, 1))")
    return " ".join(parts)


def _literal(value: Cell) -> str:
    """A SQL literal; texts were checked to have no quotes."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)


def write_database(spec: DatabaseSpec, seed: int, path: Path, held_out: bool = False) -> None:
    """Write the file at once, with all constraints enforced. Raises apsw.ConstraintError for a row that breaks one,
    which checked specs do not make."""
    rows = fill(spec, seed)
    with replacing(path) as temporary:
        temporary.unlink()  # SQLite makes its own
        with closing(apsw.Connection(str(temporary))) as connection:
            _write(connection, spec, rows)
            if held_out:
                mark_held_out(connection)


def _write(connection: apsw.Connection, spec: DatabaseSpec, rows: dict[str, Columns]) -> None:
    # The file appears when it is complete: until then a journal would protect nothing.
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA foreign_keys = ON")
    with connection:
        for statement in create_statements(spec):
            connection.execute(statement)
        for table, columns in rows.items():
            names, places = ", ".join(map(quoted, columns)), ", ".join("?" * len(columns))
            insert = f"INSERT INTO {quoted(table)} ({names}) VALUES ({places})"
            connection.executemany(insert, zip(*columns.values(), strict=True))


def written_problems(spec: DatabaseSpec, path: Path, limits: Limits) -> list[Problem]:
    """What is wrong with the rows of a written file, asked of SQLite itself."""
    problems = [Problem("constraints", f"SQLite cannot serve it: {why}") for why in read_served(path).left_out]
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        if connection.execute("PRAGMA foreign_key_check").fetchall():
            problems.append(Problem("references", "rows refer to rows that do not exist"))
        for table in spec.tables:
            problems += _join_problems(connection, table)
            problems += _variety_problems(connection, table, limits)
    return problems


def _join_problems(connection: apsw.Connection, table: TableSpec) -> Iterator[Problem]:
    for reference in table.references:
        query = (
            f"SELECT count(DISTINCT p.rowid) FROM {quoted(table.name)} AS c JOIN {quoted(reference.table)} AS p "
            f"ON p.rowid = c.{quoted(reference.column)}"
        )
        joined = int(connection.execute(query).get)
        if joined < 2:
            yield Problem(
                "references",
                f"{table.name}.{reference.column} reaches only {joined} rows of {reference.table}; let it be missing less "
                "often or give the tables more rows",
            )


def _variety_problems(connection: apsw.Connection, table: TableSpec, limits: Limits) -> Iterator[Problem]:
    name = quoted(table.name)
    for column in table.columns:
        if connection.execute(f"SELECT count(DISTINCT {quoted(column.name)}) FROM {name}").get < 2:
            yield Problem("variety", f"{table.name}.{column.name} has the same value in all rows")
    others = [*(reference.column for reference in table.references), *(column.name for column in table.columns)]
    distinct = f"SELECT count(*) FROM (SELECT DISTINCT {', '.join(map(quoted, others))} FROM {name})"
    share = int(connection.execute(distinct).get) / table.rows
    if share < limits.distinct:
        yield Problem(
            "variety",
            f"only {share:.0%} of the rows of {table.name} differ in more than their key, expected {limits.distinct:.0%}: "
            "add columns or widen their values",
        )
