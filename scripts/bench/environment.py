"""make bench-environment: forking, diffing and hashing a dialogue's database beside copying the file; tool calls beside SQLite's.

The peers' way, as frameworks with database environments do it: copy the file, open the copy, dump it, compare the dump with
that of the initial state and hash it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import sqlite3
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from core.settings import UserError
from generation.database.image import Image
from generation.environments.sql import SqlDomainEnvironment, SqlEnvironment
from generation.seeds.bundled import BundledSeeds
from scripts.bench.databases import Call, calls_of, grown, rows_in, tools_of
from scripts.bench.report import BenchSettings, Figure, Report, main


class EnvironmentSettings(BenchSettings):
    """`database` is any SQLite file, without it the bundled library. `changes` are the writing calls before the fork, `times`
    the sizes at which its cost is compared, `rounds` how often each thing is done for one time."""

    database: Path | None = None
    max_tools: int = Field(default=12, ge=3)
    changes: int = Field(default=3, ge=1)
    samples: int = Field(default=3, ge=1)
    times: tuple[int, ...] = (1, 4, 16)
    rounds: int = Field(default=200, ge=1)


@dataclass(frozen=True)
class Bench:
    """One database at one size: its tools, and the calls that are made."""

    database: Path
    domain_environment: SqlDomainEnvironment
    reads: list[Call]
    writes: list[Call]

    def at_a_turn(self, changes: int) -> SqlEnvironment:
        """An environment in which some calls have changed something."""
        environment = self.domain_environment.open()
        for name, arguments in self.writes[:changes]:
            asyncio.run(environment.call(name, arguments))
        return environment


def measure(settings: EnvironmentSettings) -> Report:
    database = settings.database or _library(settings.directory)
    folder = settings.directory / "environment"
    tools = tools_of(database, settings.max_tools)
    reads, writes = calls_of(tools, database, settings.samples)
    if not reads or len(writes) < settings.changes:
        raise UserError(
            f"{database}: the tools made for it give {len(reads)} reading and {len(writes)} writing calls; expected one and "
            f"changes={settings.changes} at least: choose another database or fewer changes"
        )
    forks: dict[int, float] = {}
    sizes = {}
    peers = calls = 0.0
    notes: dict[str, Any] = {}
    for times in settings.times:
        path = grown(database, times, folder)
        bench = Bench(path, SqlDomainEnvironment(path.stem, path, tools), reads, writes)
        forks[times] = _fork(bench, settings)
        sizes[times] = {"rows": rows_in(path), "bytes": path.stat().st_size}
        if times == settings.times[0]:
            peers = _copy(bench, settings, folder)
            calls, rates = _calls(bench, settings)
            notes["tool calls a second"] = rates
        bench.domain_environment.close()
    shutil.rmtree(folder)
    first = forks[settings.times[0]]
    notes |= {
        "fork + diff + hash + close, ms": {f"{times}x rows": _ms(seconds) for times, seconds in forks.items()},
        "copy + open + dump + compare + hash, ms": _ms(peers),
        "sizes": sizes,
        "calls": f"{len(reads)} reading, {len(writes)} writing",
    }
    figures = (
        Figure(name="fork, diff and hash: times faster than copying", value=peers / first, target=50, better="higher"),
        Figure(
            name=f"its cost at {max(forks)}x rows over that at {min(forks)}x",
            value=max(forks.values()) / first,
            target=1.5,
            better="lower",
        ),
        Figure(name="tool calls a second over bare sqlite3's", value=calls, target=0.5, better="higher"),
    )
    inputs = settings.model_dump(mode="json") | {"database": str(database)}
    return Report(name="environment", inputs=inputs, figures=figures, notes=notes)


def _library(directory: Path) -> Path:
    (seed,) = BundledSeeds(directory / "seeds", ["library"]).load()
    assert seed.database is not None
    return seed.database


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 4)


def _timed(action: Callable[[], object], rounds: int, repeats: int) -> float:
    """Seconds of one action: the median over `repeats` of the mean over `rounds`."""
    action()

    def once() -> float:
        began = time.perf_counter()
        for _ in range(rounds):
            action()
        return (time.perf_counter() - began) / rounds

    return statistics.median(once() for _ in range(repeats))


def _fork(bench: Bench, settings: EnvironmentSettings) -> float:
    environment = bench.at_a_turn(settings.changes)

    def fork() -> tuple[tuple[str, ...], str]:
        other = environment.fork()
        try:
            return other.state_diff(), other.state_hash()
        finally:
            other.close()

    assert fork() == (environment.state_diff(), environment.state_hash())
    seconds = _timed(fork, settings.rounds, settings.repeats)
    environment.close()
    return seconds


def _copy(bench: Bench, settings: EnvironmentSettings, folder: Path) -> float:
    """The same state in a file, forked as a file."""
    state, copy = folder / "state.sqlite", folder / "copy.sqlite"
    shutil.copyfile(bench.database, state)
    with closing(sqlite3.connect(state)) as connection:
        before = frozenset(connection.iterdump())
        for name, arguments in bench.writes[: settings.changes]:
            statement = bench.domain_environment.statements[name][1]
            connection.execute(statement.sql, {key: arguments.get(key) for key in statement.parameters}).fetchall()
        connection.commit()

    def fork() -> tuple[frozenset[str], str]:
        shutil.copyfile(state, copy)
        with closing(sqlite3.connect(copy)) as connection:
            dump = list(connection.iterdump())
        return before.symmetric_difference(dump), hashlib.sha256("\n".join(dump).encode()).hexdigest()

    assert fork()[0]
    return _timed(fork, max(1, settings.rounds // 20), settings.repeats)


def _calls(bench: Bench, settings: EnvironmentSettings) -> tuple[float, dict[str, int]]:
    """Our calls a second over those of a loop that does what cannot be left out: bind, execute, fetch, write JSON. Each round makes
    all calls once and goes back to the initial state."""
    environment, bare = bench.domain_environment.open(), sqlite3.connect(":memory:", isolation_level=None)
    bare.deserialize(Image.read(bench.database).content)
    bare.execute("PRAGMA foreign_keys = ON")
    made = [*bench.reads, *bench.writes]
    prepared = [(bench.domain_environment.statements[name][1], arguments) for name, arguments in made]

    async def ours() -> None:
        for name, arguments in made:
            await environment.call(name, arguments)
        environment.reset()

    def theirs() -> None:
        bare.execute("BEGIN")
        for statement, arguments in prepared:
            cursor = bare.execute(statement.sql, {key: arguments.get(key) for key in statement.parameters})
            rows = [dict(zip(statement.columns, row, strict=True)) for row in cursor.fetchall()]
            json.dumps(rows if statement.reads else {"rows_affected": cursor.rowcount}, ensure_ascii=False)
        bare.execute("ROLLBACK")

    rounds = max(1, settings.rounds // 2)
    shares = []
    for _ in range(settings.repeats):
        shares.append((_rounds(ours, rounds), _timed(theirs, rounds, 1)))
    environment.close()
    bare.close()
    rates = {
        "ours": round(len(made) / statistics.median(own for own, _ in shares)),
        "bare sqlite3": round(len(made) / statistics.median(other for _, other in shares)),
    }
    return statistics.median(other / own for own, other in shares), rates


def _rounds(action: Callable[[], Any], rounds: int) -> float:
    async def all_of_them() -> float:
        await action()
        began = time.perf_counter()
        for _ in range(rounds):
            await action()
        return (time.perf_counter() - began) / rounds

    return asyncio.run(all_of_them())


if __name__ == "__main__":
    main(EnvironmentSettings, measure)
