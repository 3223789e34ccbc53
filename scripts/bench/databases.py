"""Databases for benchmarks: a SQLite file, copies with several times its rows, and calls of tools built for it."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import sqlglot
from sqlglot import exp

from generation.database.image import Image
from generation.database.samples import Sampler
from generation.database.sandbox import DEFAULT_LIMITS, Sandbox, Statement
from generation.database.sql_tools import SqlTool
from generation.database.tables import TableShape, quoted
from generation.environments.sql import SqlDomainEnvironment
from generation.llm.meter import Meter
from generation.scripted.llm import ScriptedLLM
from generation.seeds.sqlite import SqliteSeeds
from generation.tools.from_database import make_sql_toolset

Call = tuple[str, dict[str, Any]]


def make_tools(database: Path, max_tools: int) -> tuple[SqlTool, ...]:
    """The tools that the scripted stand-in writes for a database. Raises UserError if the file is not a database."""
    (seed,) = SqliteSeeds([database]).load()
    toolset = make_sql_toolset(seed, database, Meter(ScriptedLLM()), max_tools, batch=max_tools, attempts=1)
    return asyncio.run(toolset).sql_tools


def sample_calls(tools: tuple[SqlTool, ...], database: Path, each: int) -> tuple[list[Call], list[Call]]:
    """Reading calls and writing calls: up to `each` per tool, with arguments from the data. All succeed when run in
    order, and every writing call changes the database."""
    domain_environment = SqlDomainEnvironment(database.stem, database, tools)
    sandbox = Sandbox(Image.read(database), DEFAULT_LIMITS)
    reads: list[Call] = []
    writes: list[Call] = []
    try:
        environment = domain_environment.open()
        for tool in tools:
            statement: Statement = domain_environment.statements[tool.spec.name][1]
            parsed = sqlglot.parse_one(tool.sql, dialect="sqlite")
            assert isinstance(parsed, exp.Expression)
            sampler = Sampler(parsed, tool.spec, sandbox)
            for arguments in islice(sampler.samples(tuple(sampler.schemas)), each):
                before = environment.state_hash()
                succeeded = not asyncio.run(environment.call(tool.spec.name, arguments)).error
                if succeeded and (statement.reads or environment.state_hash() != before):
                    (reads if statement.reads else writes).append((tool.spec.name, arguments))
    finally:
        sandbox.close()
        domain_environment.close()
    return reads, writes


def enlarged_copy(database: Path, times: int, directory: Path) -> Path:
    """A copy with every row `times` times: keys and references are shifted, unique texts get a suffix."""
    target = directory / f"{database.stem}-{times}.sqlite"
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(database, target)
    shapes = Image.read(database).tables
    with closing(sqlite3.connect(target)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        steps = {name: step for name, shape in shapes.items() if (step := _step(connection, shape))}
        for shape in shapes.values():
            _repeat(connection, shape, steps, times)
    return target


def _step(connection: sqlite3.Connection, shape: TableShape) -> int:
    """The shift for the keys of a table with a single integer key; 0 for any other table."""
    if len(shape.key) != 1:
        return 0
    key, table = quoted(shape.key[0]), quoted(shape.name)
    kinds = {kind for (kind,) in connection.execute(f"SELECT DISTINCT typeof({key}) FROM {table}")}
    return int(connection.execute(f"SELECT max({key}) FROM {table}").fetchone()[0]) if kinds == {"integer"} else 0


def _repeat(connection: sqlite3.Connection, shape: TableShape, steps: Mapping[str, int], times: int) -> None:
    steps_by_name = {name.lower(): step for name, step in steps.items()}
    links = connection.execute('SELECT "from", "table" FROM pragma_foreign_key_list(?)', (shape.name,)).fetchall()
    shifts = {column.lower(): steps_by_name.get(table.lower(), 0) for column, table in links}
    shifts |= {shape.key[0].lower(): steps[shape.name]} if shape.name in steps else {}

    def copied(column: str) -> str:
        """The SQL expression of a column in copy number :copy."""
        if step := shifts.get(column.lower(), 0):
            return f"{quoted(column)} + {step} * :copy"
        text = (
            f"CASE typeof({quoted(column)}) WHEN 'text' THEN {quoted(column)} || '-' || :copy ELSE {quoted(column)} END"
        )
        return text if column in shape.unique else quoted(column)

    table, rows = quoted(shape.name), connection.execute(f"SELECT count(*) FROM {quoted(shape.name)}").fetchone()[0]
    limit = f"LIMIT {rows}"  # the originals come before the copies
    columns = ", ".join(map(copied, shape.columns))
    for copy in range(1, times):
        rows_to_copy = f"SELECT {columns} FROM (SELECT * FROM {table} {limit})"
        connection.execute(
            f"INSERT OR IGNORE INTO {table} ({', '.join(map(quoted, shape.columns))}) {rows_to_copy}", {"copy": copy}
        )


def count_rows(database: Path) -> int:
    """The number of rows in all tables."""
    with closing(sqlite3.connect(database)) as connection:
        tables = Image.read(database).tables
        counts = (connection.execute(f"SELECT count(*) FROM {quoted(name)}").fetchone()[0] for name in tables)
        return sum(counts)
