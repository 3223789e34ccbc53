"""make bench-environment: forking, diffing and hashing a dialogue's database compared with copying the file; tool calls
compared with plain SQLite.

The baseline does what other frameworks with database environments do: copy the file, open the copy, dump it, compare
the dump with that of the initial state, and hash it.
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
from scripts.bench.benchmark import BenchSettings, Metric, Report, main
from scripts.bench.databases import Call, count_rows, enlarged_copy, make_tools, sample_calls


class EnvironmentSettings(BenchSettings):
    """Settings of bench-environment."""

    database: Path | None = Field(default=None, description="SQLite file; null: the bundled library")
    max_tools: int = Field(default=12, ge=3, description="most tools to build")
    changes: int = Field(default=3, ge=1, description="writing calls before the fork")
    samples: int = Field(default=3, ge=1, description="calls per tool")
    times: tuple[int, ...] = Field(default=(1, 4, 16), description="sizes to compare, as multiples of the rows")
    rounds: int = Field(default=200, ge=1, description="repetitions per measured time")


@dataclass(frozen=True)
class BenchDatabase:
    """One database at one size, with its tools and the calls to measure."""

    database: Path
    domain_environment: SqlDomainEnvironment
    reads: list[Call]
    writes: list[Call]

    def changed_environment(self, changes: int) -> SqlEnvironment:
        """An environment after `changes` writing calls."""
        environment = self.domain_environment.open()
        for name, arguments in self.writes[:changes]:
            asyncio.run(environment.call(name, arguments))
        return environment


def measure(settings: EnvironmentSettings) -> Report:
    database = settings.database or _library(settings.directory)
    folder = settings.directory / "environment"
    tools = make_tools(database, settings.max_tools)
    reads, writes = sample_calls(tools, database, settings.samples)
    if not reads or len(writes) < settings.changes:
        raise UserError(
            f"{database}: its tools give {len(reads)} reading and {len(writes)} writing calls; expected at least one "
            f"and changes={settings.changes}: choose another database or fewer changes"
        )
    forks: dict[int, float] = {}
    sizes = {}
    baseline = calls = 0.0
    notes: dict[str, Any] = {}
    for times in settings.times:
        path = enlarged_copy(database, times, folder)
        bench = BenchDatabase(path, SqlDomainEnvironment(path.stem, path, tools), reads, writes)
        forks[times] = _fork(bench, settings)
        sizes[times] = {"rows": count_rows(path), "bytes": path.stat().st_size}
        if times == settings.times[0]:
            baseline = _copy(bench, settings, folder)
            calls, rates = _calls(bench, settings)
            notes["tool calls per second"] = rates
        bench.domain_environment.close()
    shutil.rmtree(folder)
    first = forks[settings.times[0]]
    notes |= {
        "fork + diff + hash + close, ms": {f"{times}x rows": _ms(seconds) for times, seconds in forks.items()},
        "copy + open + dump + compare + hash, ms": _ms(baseline),
        "sizes": sizes,
        "calls": f"{len(reads)} reading, {len(writes)} writing",
    }
    metrics = (
        Metric(
            name="fork, diff and hash: times faster than copying", value=baseline / first, target=50, better="higher"
        ),
        Metric(
            name=f"fork, diff and hash: cost at {max(forks)}x rows over that at {min(forks)}x",
            value=max(forks.values()) / first,
            target=1.5,
            better="lower",
        ),
        Metric(name="tool calls per second over plain sqlite3's", value=calls, target=0.5, better="higher"),
    )
    inputs = settings.model_dump(mode="json") | {"database": str(database)}
    return Report(name="environment", inputs=inputs, metrics=metrics, notes=notes)


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
        started = time.perf_counter()
        for _ in range(rounds):
            action()
        return (time.perf_counter() - started) / rounds

    return statistics.median(once() for _ in range(repeats))


def _fork(bench: BenchDatabase, settings: EnvironmentSettings) -> float:
    """Seconds to fork, diff, hash and close an environment."""
    environment = bench.changed_environment(settings.changes)

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


def _copy(bench: BenchDatabase, settings: EnvironmentSettings, folder: Path) -> float:
    """The baseline's seconds: the same state in a file, copied, dumped, compared and hashed."""
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


def _calls(bench: BenchDatabase, settings: EnvironmentSettings) -> tuple[float, dict[str, int]]:
    """Our calls per second over those of a minimal loop (bind, execute, fetch, write JSON), and both rates. Each round
    makes all calls once and then resets the state."""
    environment, plain = bench.domain_environment.open(), sqlite3.connect(":memory:", isolation_level=None)
    plain.deserialize(Image.read(bench.database).content)
    plain.execute("PRAGMA foreign_keys = ON")
    all_calls = [*bench.reads, *bench.writes]
    prepared = [(bench.domain_environment.statements[name][1], arguments) for name, arguments in all_calls]

    async def ours() -> None:
        for name, arguments in all_calls:
            await environment.call(name, arguments)
        environment.reset()

    def minimal() -> None:
        plain.execute("BEGIN")
        for statement, arguments in prepared:
            cursor = plain.execute(statement.sql, {key: arguments.get(key) for key in statement.parameters})
            rows = [dict(zip(statement.columns, row, strict=True)) for row in cursor.fetchall()]
            json.dumps(rows if statement.reads else {"rows_affected": cursor.rowcount}, ensure_ascii=False)
        plain.execute("ROLLBACK")

    rounds = max(1, settings.rounds // 2)
    times = []
    for _ in range(settings.repeats):
        times.append((_rounds(ours, rounds), _timed(minimal, rounds, 1)))
    environment.close()
    plain.close()
    rates = {
        "ours": round(len(all_calls) / statistics.median(ours_s for ours_s, _ in times)),
        "plain sqlite3": round(len(all_calls) / statistics.median(plain_s for _, plain_s in times)),
    }
    return statistics.median(plain_s / ours_s for ours_s, plain_s in times), rates


def _rounds(action: Callable[[], Any], rounds: int) -> float:
    """Mean seconds of an async action, after a warm-up."""

    async def timed() -> float:
        await action()
        started = time.perf_counter()
        for _ in range(rounds):
            await action()
        return (time.perf_counter() - started) / rounds

    return asyncio.run(timed())


if __name__ == "__main__":
    main(EnvironmentSettings, measure)
