"""τ²-bench (paper, Section 4) through one of two backends, whose scores are never mixed.

`inspect`, the default: inspect-evals, which carries the tasks, databases, policies and rewards of the official release of June
2025; `evaluation.tau2.inspect_worker` runs it. Where it differs from the official program: the user opens, and is told nothing of steps.
`official`: the `tau2` executable where the user installed it (`evaluation.tau2.official`). Its tasks have been revised
since (release 1.0, March 2026), so that the same model scores otherwise there.

In both, a trial in which a request failed was not held: an infrastructure error, tried again and never scored. A request refused
because it exceeds the model's context is the model's failure (stop reason "context_length"); the same of the user simulator is
infrastructure. A dialogue that the user did not end has failed, as officially.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.journal import write_json
from core.serving import Server, free_ports, running
from core.settings import UserError, typed
from evaluation.benchmark import Benchmark, EvaluationContext
from evaluation.endpoint import Endpoint
from evaluation.metrics.pass_at_k import pass_1_by_category
from evaluation.tau2 import official
from evaluation.tau2.do_nothing import do_nothing
from evaluation.tau2.settings import Tau2Request, Tau2Settings
from evaluation.trials import Progress, TrialRecord, open_journal, read_trials
from evaluation.worker_process import run_worker

SCRIPTED_CUSTOMER = "scripted-user"
"""The model name under which the scripted customer is recorded as the user simulator."""


class Tau2(Benchmark):
    """The benchmark of conf/benchmark/tau2.yaml."""

    NEUTRAL = ("attempts", "retries", "timeout_s")

    def __init__(self, **settings: Any) -> None:
        """Raises UserError for wrong settings, and for the official backend without what it needs."""
        self.settings = typed(settings, Tau2Settings, "benchmarks.tau2")
        tasks = self.settings.tasks()
        if self.settings.backend == "official":
            official.check(self.settings.official, tasks)

    def run(self, context: EvaluationContext, directory: Path, progress: Progress | None = None) -> list[TrialRecord]:
        with self._user_simulator(directory) as user:
            settings = self.settings.model_copy(update={"user": user})
            return run(context.endpoint, settings, directory, context.trials, progress)

    @contextmanager
    def _user_simulator(self, directory: Path) -> Iterator[Endpoint]:
        """The configured endpoint, or the scripted customer, which is started here."""
        if self.settings.user:
            yield self.settings.user
            return
        (port,) = free_ports(1)
        command = (sys.executable, "-m", "generation.scripted.customer_server", "--port", str(port))
        with running([Server(command, port, directory / "customer.log")], "the scripted customer", 60) as urls:
            yield Endpoint(base_url=urls[0], model=SCRIPTED_CUSTOMER)

    def metrics(self, records: Sequence[TrialRecord]) -> dict[str, float | None]:
        """Pass@1 by domain, and what an agent that does nothing would have scored on the same tasks."""
        nothing: dict[str, float | None] = {
            f"{domain}, doing nothing": share for domain, share in do_nothing(records).items()
        }
        return pass_1_by_category(records) | nothing

    def caveats(self, records: Sequence[TrialRecord]) -> list[str]:
        """What doing nothing passes of the same tasks, where that is known."""
        shares = do_nothing(records).items()
        known = ", ".join(f"{domain} {100 * share:.0f} %" for domain, share in shares)
        return [f"doing nothing passes {known}"] if known else []


def run(
    endpoint: Endpoint, settings: Tau2Settings, directory: Path, trials: int, progress: Progress | None = None
) -> list[TrialRecord]:
    """Hold `trials` trials of the chosen tasks and return their records, also kept in `directory`/trials.jsonl.

    Called again with the same arguments it goes on where it was interrupted. Raises UserError for wrong settings and for a
    directory with trials of another harness, HarnessError if the official code breaks down.
    """
    expected = sum(map(len, settings.tasks().values())) * trials
    request = Tau2Request(endpoint=endpoint, settings=settings, trials=trials, directory=directory.resolve())
    open_journal(request.journal).close()  # a line that a killed process left torn is cut off
    _refuse_mixture(request)

    def tick(done: int) -> None:
        if progress:
            progress("τ²-bench", min(done, expected), expected)  # a lost trial has a line for each attempt

    hold = {"inspect": _inspect, "official": official.hold}[settings.backend]
    for _ in range(settings.attempts):
        records = read_trials(request.journal)
        if len(records) == expected and all(record.success is not None for record in records):
            break
        hold(request, tick)
    return read_trials(request.journal)


def _refuse_mixture(request: Tau2Request) -> None:
    there = {record.harness for record in read_trials(request.journal)}
    if others := sorted(there - {request.settings.harness}):
        raise UserError(
            f"{request.directory} holds trials of {others[0]!r}; those of {request.settings.harness!r} cannot be mixed with "
            "them: expected a directory without trials"
        )


def _inspect(request: Tau2Request, tick: Callable[[int], None]) -> None:
    """The worker has a temporary directory of its own, which goes when it ends: the packages in it leave files behind."""
    write_json(request.directory / "request.json", request.model_dump(mode="json"))
    scratch = request.directory / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    homes = {name: str(scratch) for name in ("TMPDIR", "XDG_DATA_HOME", "XDG_CACHE_HOME")}
    command = (sys.executable, "-m", "evaluation.tau2.inspect_worker", request.directory / "request.json")

    def lines() -> None:
        tick(request.journal.read_bytes().count(b"\n") if request.journal.is_file() else 0)

    try:
        run_worker(command, homes, request.directory / "worker.log", lines)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
