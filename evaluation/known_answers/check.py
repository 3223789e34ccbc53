"""What a check of a benchmark with known answers reports (make eval-known)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.messages import Frozen
from core.sampling import Sampling
from core.serving import Server, free_ports, running
from core.settings import Settings
from evaluation.endpoint import Endpoint
from evaluation.known_answers.server import MODEL


class KnownSettings(Settings):
    """`only` names the benchmarks to check, empty for all; `concurrency` requests are in flight at once."""

    outputs: Path = Path("outputs")
    only: tuple[str, ...] = ()
    concurrency: int = 16


class Row(Frozen):
    """One line of the table: of `tasks` tasks `passed` passed where `expected` had to; `holds` only if exactly those passed
    that had to. `seconds` is the wall-clock of what was run at once, None for a part of it."""

    benchmark: str
    category: str
    answers: str
    tasks: int
    passed: int
    expected: int
    holds: bool
    seconds: float | None = None


@contextmanager
def known_answers(name: str, log: Path, concurrency: int) -> Iterator[Endpoint]:
    """An endpoint in a process of its own that gives the known answers `name` (a key of evaluation.known_answers)."""
    (port,) = free_ports(1)
    command = (sys.executable, "-m", "evaluation.known_answers", "--port", str(port), "--answers", name)
    with running([Server(command, port, log)], f"known answers ({name})", 60) as urls:
        yield Endpoint(base_url=urls[0], model=MODEL, sampling=Sampling(max_tokens=512), concurrency=concurrency)
