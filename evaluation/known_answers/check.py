"""Shared by the known-answer checks of the benchmarks (make eval-known): settings, result rows, and the run itself."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field

from core.messages import Frozen
from core.sampling import Sampling
from core.servers import Server, free_ports, running
from core.settings import Settings
from evaluation.benchmark import Benchmark, EvaluationContext
from evaluation.endpoint import Endpoint
from evaluation.known_answers.server import MODEL
from evaluation.trials import Progress, TrialRecord


class KnownSettings(Settings):
    """Settings of make eval-known."""

    outputs: Path = Field(default=Path("outputs"), description="results go to its folder known/")
    only: tuple[str, ...] = Field(default=(), description="benchmarks to check; empty: all")
    concurrency: int = Field(default=16, description="requests in flight at once")
    tasks: int = Field(default=12, ge=1, description="held-out: tasks of each kind on each set of databases")
    databases: tuple[Path, ...] = Field(
        default=(), description="held-out: SQLite files to check besides the bundled databases"
    )


class Row(Frozen):
    """One line of the table: `passed` of `tasks` tasks passed, `expected` had to; `holds` if exactly those passed.

    `seconds` is the wall-clock time of the run; None for a part of a run.
    """

    benchmark: str
    category: str
    answers: str
    tasks: int
    passed: int
    expected: int
    holds: bool
    seconds: float | None = None


def row(
    benchmark: str,
    category: str,
    answers: str,
    records: Sequence[TrialRecord],
    size: int,
    expected: Callable[[str], bool],
    seconds: float | None = None,
) -> Row:
    """Compare outcomes with the expected ones (task id -> passed); holds if there are `size` records, all as
    expected."""
    as_expected = [record.success is expected(record.task_id) for record in records]
    return Row(
        benchmark=benchmark,
        category=category,
        answers=answers,
        tasks=len(records),
        passed=sum(record.success is True for record in records),
        expected=sum(expected(record.task_id) for record in records),
        holds=len(records) == size and all(as_expected),
        seconds=seconds,
    )


@contextmanager
def known_answers(name: str, log: Path, concurrency: int) -> Iterator[Endpoint]:
    """Serves the known answers `name` (see `python -m evaluation.known_answers --help`) in a separate process."""
    (port,) = free_ports(1)
    command = (sys.executable, "-m", "evaluation.known_answers", "--port", str(port), "--answers", name)
    with running([Server(command, port, log)], f"known answers ({name})", 60) as urls:
        yield Endpoint(base_url=urls[0], model=MODEL, sampling=Sampling(max_tokens=512), concurrency=concurrency)


def run_against(
    answers: str,
    benchmark: Callable[[Endpoint], Benchmark],
    directory: Path,
    settings: KnownSettings,
    progress: Progress | None,
) -> tuple[list[TrialRecord], float]:
    """Runs one trial of each task against the known answers in an emptied `directory`; `benchmark` gets their endpoint.

    Returns the records and the wall-clock time in seconds.
    """
    shutil.rmtree(directory, ignore_errors=True)
    with known_answers(answers, directory / "server.log", settings.concurrency) as endpoint:
        started = time.monotonic()
        records = benchmark(endpoint).run(EvaluationContext(endpoint, trials=1), directory, progress)
        return records, time.monotonic() - started
