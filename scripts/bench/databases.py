"""Databases to measure on: any SQLite file, itself and with several times its rows, and calls of tools made for it."""

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

from generation.database.image import Image, TableShape, quoted
from generation.database.samples import Sampler
from generation.database.sandbox import DEFAULT_LIMITS, Sandbox, Statement
from generation.database.sql_tools import SqlTool
from generation.environments.sql import SqlDomainEnvironment
from generation.llm.meter import Meter
from generation.scripted.llm import ScriptedLLM
from generation.seeds.sqlite import SqliteSeeds
from generation.tools.from_database import make_sql_toolset

Call = tuple[str, dict[str, Any]]


def tools_of(database: Path, max_tools: int) -> tuple[SqlTool, ...]:
    """The tools that the stand-in makes for a database. Raises UserError for a file that is none."""
    (seed,) = SqliteSeeds([database]).load()
    made = make_sql_toolset(seed, database, Meter(ScriptedLLM()), max_tools, attempts=1, enough=1)
    return asyncio.run(made).sql_tools


def calls_of(tools: tuple[SqlTool, ...], database: Path, each: int) -> tuple[list[Call], list[Call]]:
    """Reading calls and writing calls: up to `each` of a tool, with arguments from the data, that succeed, one after the other;
    a writing call changes something."""
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
                done = not asyncio.run(environment.call(tool.spec.name, arguments)).error
                if done and (statement.reads or environment.state_hash() != before):
                    (reads if statement.reads else writes).append((tool.spec.name, arguments))
    finally:
        sandbox.close()
        domain_environment.close()
    return reads, writes


def grown(database: Path, times: int, directory: Path) -> Path:
    """A copy with every row there `times` times: keys and references to them shifted, unique texts told apart."""
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
    """By how much to shift the numbers of a table with one whole number as its key; 0 for any other table."""
    if len(shape.key) != 1:
        return 0
    key, table = quoted(shape.key[0]), quoted(shape.name)
    kinds = {kind for (kind,) in connection.execute(f"SELECT DISTINCT typeof({key}) FROM {table}")}
    return int(connection.execute(f"SELECT max({key}) FROM {table}").fetchone()[0]) if kinds == {"integer"} else 0


def _repeat(connection: sqlite3.Connection, shape: TableShape, steps: Mapping[str, int], times: int) -> None:
    named = {name.lower(): step for name, step in steps.items()}
    links = connection.execute('SELECT "from", "table" FROM pragma_foreign_key_list(?)', (shape.name,)).fetchall()
    shifts = {column.lower(): named.get(table.lower(), 0) for column, table in links}
    shifts |= {shape.key[0].lower(): steps[shape.name]} if shape.name in steps else {}

    def again(column: str) -> str:
        if step := shifts.get(column.lower(), 0):
            return f"{quoted(column)} + {step} * :copy"
        text = (
            f"CASE typeof({quoted(column)}) WHEN 'text' THEN {quoted(column)} || '-' || :copy ELSE {quoted(column)} END"
        )
        return text if column in shape.unique else quoted(column)

    table, rows = quoted(shape.name), connection.execute(f"SELECT count(*) FROM {quoted(shape.name)}").fetchone()[0]
    limit = f"LIMIT {rows}"  # the copies stand behind the originals
    columns = ", ".join(map(again, shape.columns))
    for copy in range(1, times):
        order = f"SELECT {columns} FROM (SELECT * FROM {table} {limit})"
        connection.execute(
            f"INSERT OR IGNORE INTO {table} ({', '.join(map(quoted, shape.columns))}) {order}", {"copy": copy}
        )


def rows_in(database: Path) -> int:
    """Over all tables."""
    with closing(sqlite3.connect(database)) as connection:
        tables = Image.read(database).tables
        counts = (connection.execute(f"SELECT count(*) FROM {quoted(name)}").fetchone()[0] for name in tables)
        return sum(counts)
